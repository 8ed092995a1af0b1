"""Edges that show quiz pages, with the database in which the quizzes are and the publisher of its events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from pipeline.runtime.backoff import Backoff
from pipeline.topology.file import Window
from pipeline.topology.model import Topology
from schemas.quiz_page import Asked, Choice, ContactForm, Number, Option, QuizPage, Scale
from schemas.records import Question, Quiz
from sinks.postgres.catalogue.catalogue import QuizDraft, save_quiz, save_tenant
from sinks.postgres.connect import connect
from sinks.postgres.outbox import Publisher
from tests.support.edge import (
    SERVICE_TOKEN,
    Answer,
    Edge,
    prepare,
    running,
    settings_for,
    wait_ready,
    wait_until,
)
from tests.support.producer import make_producer
from tests.support.samples import NOW_MS

TENANT = "acme"
SECRET = "the-right-answer-7f3a"  # in no page, whichever form it has
QUIZ = QuizDraft(
    "feedback",
    TENANT,
    "Como foi o curso?",
    [
        Question("mood", "Como você se sente?", right_answer=SECRET),
        Question("rating", "Que nota você dá?"),
        Question("topics", "Que temas faltaram?"),
        Question("age", "Quantos anos você tem?"),
        Question("why", "Por quê?"),
    ],
    page=QuizPage(
        intro="Leva um minuto.",
        accent="#ffe066",
        asked=[
            Asked(["mood"], Choice([Option("good", "Bem"), Option("bad", "Mal")]), required=True),
            Asked(["rating"], Scale(0, 10, "ruim", "ótimo")),
            Asked(
                ["topics"], Choice([Option("a", "Álgebra"), Option("b", "Barcos & <velas>")], several=True)
            ),
            Asked(["age"], Number(1, 120), hint="Em anos."),
        ],
        contact=ContactForm(["name", "phone", "email"]),
    ),
)


@dataclass(frozen=True)
class Pages:
    edges: list[Edge]
    database_url: str

    def get(self, path: str, edge: int = 0, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.edges[edge].ask("GET", path, headers=named)

    def save(self, draft: QuizDraft) -> Quiz:
        with connect(self.database_url, "test") as connection:
            return save_quiz(connection, draft, NOW_MS)


@contextmanager
def pages(
    bootstrap: str,
    database_url: str,
    redis_url: str,
    namespace: str,
    *,
    edges: int = 1,
    change: object = None,
) -> Iterator[Pages]:
    """`change(topology)` returns the topology with which the edges run."""
    settings = replace(settings_for(bootstrap, namespace), database_url=database_url, redis_url=redis_url)
    topology = prepare(settings)
    if callable(change):
        topology = change(topology)
    with connect(database_url, "test") as connection:
        save_tenant(connection, TENANT, "Acme")
        save_quiz(connection, QUIZ, NOW_MS)
    with ExitStack() as running_here:
        running_here.enter_context(publishing(topology, bootstrap, database_url))
        shown = [running_here.enter_context(running(settings, topology)) for _ in range(edges)]
        for edge in shown:
            wait_ready(edge)
            wait_until(partial(_has_quiz, edge), "the edge to have the quiz")
        yield Pages(shown, database_url)


def _has_quiz(edge: Edge) -> bool:
    """It may be ready before the event of the quiz is published. Nothing is stored, no address is counted."""
    answer = edge.submit(QUIZ.quiz_id, b"{", authorization=f"Bearer {SERVICE_TOKEN}")
    return answer.problem == "invalid-json"


@contextmanager
def publishing(topology: Topology, bootstrap: str, database_url: str) -> Iterator[None]:
    """The outbox publisher of this database."""
    producer = make_producer(bootstrap)
    publisher = Publisher(
        topology, producer, lambda: connect(database_url, "test outbox"), Backoff(0.05, 0.5)
    )
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def limited(topology: Topology, limit: int) -> Topology:
    """The topology with so many pages a minute for an address; no address is trusted."""
    limits = msgspec.structs.replace(topology.edge.limits, quiz_pages=Window(limit=limit, window_s=60))
    sources = msgspec.structs.replace(topology.edge.sources, trusted=())
    edge = msgspec.structs.replace(topology.edge, limits=limits, sources=sources)
    return msgspec.structs.replace(topology, edge=edge)

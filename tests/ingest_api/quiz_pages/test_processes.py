"""Pages from several edge processes: each shows a change at once, and few requests reach PostgreSQL."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest

from ops.demo.datasets import DATASETS
from ops.embedded.stack import ServerUrls
from sinks.postgres.catalogue.catalogue import save_quiz, save_tenant
from sinks.postgres.connect import connect
from tests.support.edge import prepare, settings_for, wait_until
from tests.support.hosts import Host, hosted
from tests.support.pages import QUIZ, TENANT, Pages, publishing
from tests.support.samples import NOW_MS

EDGES = 3
CONCURRENT = 1000
HIT_RATE_MIN = 0.85
ANSWERS = "quizstream_cache_answers_total"


@dataclass(frozen=True)
class Site:
    host: Host
    pages: Pages

    def answers(self, *levels: str) -> int:
        """How many pages came from these levels, over all processes."""
        scraped = [self.host.scraped(number) for number in range(EDGES)]
        found = [
            one.value(ANSWERS, namespace="quiz_pages", level=level) for one in scraped for level in levels
        ]
        return int(sum(value or 0 for value in found))


@pytest.fixture
def site(stack: ServerUrls, database_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    with connect(database_url, "test") as connection:
        save_tenant(connection, TENANT, "Acme")
        for quiz_id in (QUIZ.quiz_id, *(dataset.quiz_id for dataset in DATASETS)):
            save_quiz(connection, msgspec.structs.replace(QUIZ, quiz_id=quiz_id), NOW_MS)
    with (
        publishing(topology, stack.kafka_bootstrap, database_url),
        hosted(settings, topology, stack.redis_url, tmp_path, EDGES, database_url) as host,
    ):
        pages = Pages([host.own(number) for number in range(EDGES)], database_url)
        for number in range(EDGES):
            for dataset in DATASETS:
                _wait_for(pages, number, dataset.quiz_id)
        yield Site(host, pages)


def _wait_for(pages: Pages, edge: int, quiz_id: str) -> None:
    wait_until(lambda: pages.edges[edge].submit(quiz_id, {"answers": {}}).status == 202, f"quiz {quiz_id}")


def test_a_change_is_on_the_pages_of_every_process(site: Site) -> None:
    """From the commit in PostgreSQL to the first new answer of the last process."""
    shown_ms = []
    for number in range(5):
        title = f"Título {number}"
        for edge in range(EDGES):
            assert site.pages.get("/quiz/feedback.json", edge).json["title"] != title
        site.pages.save(msgspec.structs.replace(QUIZ, title=title))
        began_s = time.monotonic()
        with ThreadPoolExecutor(EDGES) as pool:
            list(pool.map(lambda edge, title=title: _until_shown(site, edge, title), range(EDGES)))
        shown_ms.append(round((time.monotonic() - began_s) * 1000))
    print(f"changes are on the pages of {EDGES} processes after {shown_ms} ms")
    assert min(shown_ms) < 60_000  # wide: machines differ. The figure that is printed is the one to read.


def _until_shown(site: Site, edge: int, title: str) -> None:
    give_up_at = time.monotonic() + 120
    while site.pages.get("/quiz/feedback.json", edge).json["title"] != title:
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_a_thousand_concurrent_misses_are_one_load(site: Site) -> None:
    async def story() -> set[int]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one() -> int:
                async with session.get(f"{site.pages.edges[0].url}/quiz/feedback") as answer:
                    await answer.read()
                    return answer.status

            return set(await asyncio.gather(*(one() for _ in range(CONCURRENT))))

    assert site.answers("source") == 0
    assert asyncio.run(story()) == {200}
    assert site.answers("process", "valkey", "source") == CONCURRENT
    assert site.host.scraped(0).value("quizstream_cache_load_seconds_count", namespace="quiz_pages") == 1


def test_nearly_all_pages_of_the_replayed_quizzes_come_from_the_cache(site: Site) -> None:
    """Every respondent of both data sets opens the page of the quiz, at one of the processes."""
    visits = [dataset.quiz_id for dataset in DATASETS for _ in range(dataset.rows)]

    def visit(edge: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", site.pages.edges[edge].port, timeout=60)
        for quiz_id in visits[edge::EDGES]:
            connection.request("GET", f"/quiz/{quiz_id}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()

    with ThreadPoolExecutor(EDGES) as pool:
        list(pool.map(visit, range(EDGES)))
    hits, loads = site.answers("process", "valkey"), site.answers("source")
    print(f"{hits:,} of {hits + loads:,} pages came from the cache: {hits / (hits + loads):.2%}")
    assert hits + loads == len(visits)
    assert hits / (hits + loads) > HIT_RATE_MIN

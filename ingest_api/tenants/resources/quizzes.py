"""Quizzes of the tenant. The API makes the ids: so no id shows whether another tenant has it."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation, unknown
from schemas.quiz_page import QuizPage
from schemas.records import Question, Quiz
from sinks.postgres.catalogue.event_size import event_bytes_max
from sinks.postgres.catalogue.operations import add_quiz
from sinks.postgres.catalogue.quizzes import ListedQuiz, QuizDraft, get_page, get_quiz, list_quizzes
from sinks.postgres.page import Page, as_mappings
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("quizzes.sql"))
ID_BYTES = 12


class QuizContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant writes of a quiz. `page`: texts, options and theme of its page.

    A change keeps what it leaves out; a new quiz is open, and without a page.
    """

    title: str
    questions: list[Question]
    open: bool | UnsetType = UNSET
    page: QuizPage | UnsetType | None = UNSET


class QuizShown(msgspec.Struct, frozen=True):
    """A stored quiz. `version` counts its changes; `created_at`: ms since the epoch."""

    quiz_id: str
    version: int
    title: str
    questions: list[Question]
    open: bool
    created_at: int
    page: QuizPage | None


def create(call: Call) -> Answer:
    return Answer(_save(call, f"qz-{call.random_text(ID_BYTES)}", call.body, is_open=True, page=None), 201)


def read(call: Call) -> Answer:
    return Answer(_current(call))


def replace(call: Call) -> Answer:
    call.connection.execute(QUERIES["lock_quiz"], {"id": call.id, "tenant": call.tenant_id})
    before = _current(call)
    call.require_unchanged(before)
    return Answer(_save(call, call.id, call.body, is_open=before.open, page=before.page))


def listed(call: Call) -> Answer:
    page = list_quizzes(call.connection, limit=PAGE_ROWS, after=call.after, tenant_id=call.tenant_id)
    return Answer(as_mappings(page))


def _current(call: Call) -> QuizShown:
    found = get_quiz(call.connection, call.id)
    if found is None or found.tenant_id != call.tenant_id:
        raise unknown("quiz")
    return _shown(found, get_page(call.connection, call.id))


def _save(
    call: Call, quiz_id: str, content: QuizContent, *, is_open: bool, page: QuizPage | None
) -> QuizShown:
    """`is_open`, `page`: where the content leaves them out."""
    is_open = is_open if isinstance(content.open, UnsetType) else content.open
    page = page if isinstance(content.page, UnsetType) else content.page
    draft = QuizDraft(quiz_id, call.tenant_id, content.title, content.questions, is_open, page)
    bytes_max = event_bytes_max(call.topology.topic("quizzes"))
    return _shown(add_quiz(call.connection, call.actor, draft, call.now_ms, bytes_max), page)


def _shown(quiz: Quiz, page: QuizPage | None) -> QuizShown:
    return QuizShown(quiz.quiz_id, quiz.version, quiz.title, quiz.questions, quiz.open, quiz.created_at, page)


OPERATIONS = (
    Operation(
        *("listQuizzes", "GET", "/v1/quizzes", "read", "List quizzes, by id", listed),
        answer=Page[ListedQuiz],
        id_at="/items/0/quiz_id",
        query=AFTER,
    ),
    Operation(
        *("createQuiz", "POST", "/v1/quizzes", "write", "Create a quiz", create),
        answer=QuizShown,
        id_at="/quiz_id",
        body=QuizContent,
        status=201,
    ),
    Operation(
        *("readQuiz", "GET", "/v1/quizzes/{id}", "read", "Read a quiz", read),
        answer=QuizShown,
    ),
    Operation(
        *("replaceQuiz", "PUT", "/v1/quizzes/{id}", "write", "Replace a quiz", replace),
        answer=QuizShown,
        body=QuizContent,
        conditional=True,
    ),
)

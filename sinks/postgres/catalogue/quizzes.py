"""Quizzes: each change is saved with the next version."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.codec import codec
from schemas.records import Question, Quiz
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
QUESTIONS_MAX = 500
QUIZZES_ROLE = "quizzes"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # safe in a path, a key and a file name
BAD_ID = "its id must be letters, digits, '.', '_' and '-', at most 128, the first no sign"


class QuizDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quiz without a version, which is set when it is saved."""

    quiz_id: str
    tenant_id: str
    title: str
    questions: list[Question]
    open: bool = True


class QuizRejected(Rejection):
    """The quiz cannot be saved."""


class UnknownQuiz(Rejection):
    """There is no such quiz."""

    def __init__(self, quiz_id: str) -> None:
        super().__init__(quiz_id, ["there is no such quiz"])


class ListedQuiz(NamedTuple):
    """`questions` is how many it has."""

    quiz_id: str
    tenant_id: str
    version: int
    title: str
    questions: int
    open: bool
    created_at: datetime


def list_quizzes(
    connection: Connection, *, limit: int, after: str | None = None, tenant_id: str | None = None
) -> Page[ListedQuiz]:
    """By id; `after` is the cursor of the page before."""
    parameters = {"after": after or "", "tenant": tenant_id, "limit": limit + 1}
    found = fetch(connection, QUERIES["list_quizzes"], ListedQuiz, parameters)
    return page_of(found, limit, lambda quiz: quiz.quiz_id)


def save_quiz(connection: Connection, draft: QuizDraft, now_ms: int) -> Quiz:
    """Save a draft; return the stored quiz, with the next version if `draft` changes it.

    Raises `QuizRejected`: bad id, question without or with another's id, or a quiz of another tenant; and
    `UnknownTenant`.
    """
    problems = _quiz_problems(draft)
    if problems:
        raise QuizRejected(draft.quiz_id, problems)
    with connection.transaction():
        if connection.execute(QUERIES["tenant_exists"], [draft.tenant_id]).fetchone() is None:
            raise UnknownTenant(draft.tenant_id)
        connection.execute(QUERIES["begin_quiz"], [draft.quiz_id, draft.tenant_id, now_ms])
        before = _quiz(draft.quiz_id, connection.execute(QUERIES["lock_quiz"], [draft.quiz_id]).fetchone())
        if before is None or before.tenant_id != draft.tenant_id:
            raise QuizRejected(draft.quiz_id, ["it belongs to another tenant"])
        after = msgspec.structs.replace(before, title=draft.title, questions=draft.questions, open=draft.open)
        if before.version > 0 and after == before:
            return before
        after = msgspec.structs.replace(after, version=before.version + 1)
        questions = msgspec.json.encode(after.questions).decode()
        connection.execute(
            QUERIES["update_quiz"], [after.version, after.title, questions, after.open, after.quiz_id]
        )
        enqueue(connection, QUIZZES_ROLE, after.quiz_id.encode(), codec("quiz").encode(after))
        return after


def get_quiz(connection: Connection, quiz_id: str) -> Quiz | None:
    """Return the stored quiz."""
    return _quiz(quiz_id, connection.execute(QUERIES["get_quiz"], [quiz_id]).fetchone())


def _quiz(quiz_id: str, row: tuple[object, ...] | None) -> Quiz | None:
    if row is None:
        return None
    tenant_id, version, title, questions, is_open, created_at = row
    return Quiz(
        quiz_id=quiz_id,
        tenant_id=str(tenant_id),
        version=int(str(version)),
        title=str(title),
        questions=msgspec.convert(questions, list[Question]),
        created_at=int(str(created_at)),
        open=bool(is_open),
    )


def _quiz_problems(draft: QuizDraft) -> list[str]:
    ids = [question.question_id for question in draft.questions]
    problems = []
    if not ID.fullmatch(draft.quiz_id):
        problems.append(BAD_ID)
    if len(ids) > QUESTIONS_MAX:
        problems.append(f"it has {len(ids)} questions; at most {QUESTIONS_MAX} are possible")
    if any(not question_id.strip() or "\x00" in question_id for question_id in ids):
        problems.append("a question has no id")
    problems += [
        f'two questions have the id "{twice}"' for twice in sorted({i for i in ids if ids.count(i) > 1})
    ]
    return problems

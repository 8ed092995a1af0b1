"""Quizzes: each change is saved with the next version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.campaigns import quiz_check
from schemas import quiz_page
from schemas.codec import codec
from schemas.quiz_page import QuizPage
from schemas.records import Campaign, Question, Quiz
from sinks.postgres.catalogue.event_size import EVENT_BYTES_MAX, too_large
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
QUESTIONS_MAX = 500
FORMER_QUESTIONS_MAX = 500  # of one quiz; the first that were removed are forgotten first
CAMPAIGNS_NAMED_MAX = 20  # in one rejection
QUIZZES_ROLE = "quizzes"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # safe in a path, a key and a file name
JSON_SUFFIX = ".json"  # at the end of a page's address it asks for JSON
BAD_ID = "its id must be letters, digits, '.', '_' and '-', at most 128, the first no sign"


class QuizDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quiz without a version, which is set when it is saved."""

    quiz_id: str
    tenant_id: str
    title: str
    questions: list[Question]
    open: bool = True
    page: QuizPage | None = None


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


def save_quiz(
    connection: Connection, draft: QuizDraft, now_ms: int, bytes_max: int = EVENT_BYTES_MAX
) -> Quiz:
    """Save a draft; return the stored quiz, with the next version if `draft` changes it.

    Questions that it no longer has stay in `former_questions`: pages that are still open answer them.
    Raises `QuizRejected`: bad id, question without or with another's id, a quiz of another tenant, a change
    after which a running campaign could not be saved, with each campaign, an event of more than `bytes_max`;
    and `UnknownTenant`.
    """
    problems = _quiz_problems(draft)
    if problems:
        raise QuizRejected(draft.quiz_id, problems)
    with connection.transaction():
        if connection.execute(QUERIES["tenant_exists"], [draft.tenant_id]).fetchone() is None:
            raise UnknownTenant(draft.tenant_id)
        connection.execute(QUERIES["begin_quiz"], [draft.quiz_id, draft.tenant_id, now_ms])
        row = connection.execute(QUERIES["lock_quiz"], [draft.quiz_id]).fetchone()
        before, page_before = (
            (None, None) if row is None else (_quiz(draft.quiz_id, row[:-1]), _page(row[-1]))
        )
        if before is None or before.tenant_id != draft.tenant_id:
            raise QuizRejected(draft.quiz_id, ["it belongs to another tenant"])
        if before.version == 0 and draft.quiz_id.endswith(JSON_SUFFIX):
            raise QuizRejected(draft.quiz_id, [f'its id ends with "{JSON_SUFFIX}": it would have no page'])
        after = msgspec.structs.replace(
            before,
            title=draft.title,
            questions=draft.questions,
            open=draft.open,
            former_questions=_former_questions(before, draft),
        )
        if before.version > 0 and after == before and draft.page == page_before:
            return before
        broken = _broken_campaigns(connection, before, after, now_ms)
        if broken:
            raise QuizRejected(draft.quiz_id, broken)
        after = msgspec.structs.replace(after, version=before.version + 1)
        key, event = after.quiz_id.encode(), codec("quiz").encode(after)
        problems = too_large(key, event, bytes_max)
        if problems:
            raise QuizRejected(draft.quiz_id, problems)
        connection.execute(
            QUERIES["update_quiz"],
            {
                "quiz": after.quiz_id,
                "version": after.version,
                "title": after.title,
                "questions": msgspec.json.encode(after.questions).decode(),
                "open": after.open,
                "former_questions": msgspec.json.encode(after.former_questions).decode(),
                "page": None if draft.page is None else msgspec.json.encode(draft.page).decode(),
            },
        )
        enqueue(connection, QUIZZES_ROLE, key, event)
        return after


def get_quiz(connection: Connection, quiz_id: str) -> Quiz | None:
    """Return the stored quiz."""
    return _quiz(quiz_id, connection.execute(QUERIES["get_quiz"], [quiz_id]).fetchone())


def get_page(connection: Connection, quiz_id: str) -> QuizPage | None:
    """Return how the stored quiz is shown; None where its draft did not have a page."""
    row = connection.execute(QUERIES["get_page"], [quiz_id]).fetchone()
    return None if row is None else _page(row[0])


def quizzes_unchanged(connection: Connection, tenant_id: str, quiz_ids: Iterable[str]) -> list[Quiz]:
    """The quizzes that the tenant has, locked against changes until the transaction's end."""
    found = (
        _quiz(quiz_id, connection.execute(QUERIES["share_quiz"], [quiz_id]).fetchone())
        for quiz_id in sorted(set(quiz_ids))
    )
    return [quiz for quiz in found if quiz is not None and quiz.tenant_id == tenant_id]


def _former_questions(before: Quiz, draft: QuizDraft) -> list[str]:
    """Its former and removed questions, in the order of their removal."""
    present = {question.question_id for question in draft.questions}
    known = [*before.former_questions, *(question.question_id for question in before.questions)]
    return [question_id for question_id in known if question_id not in present][-FORMER_QUESTIONS_MAX:]


def _broken_campaigns(connection: Connection, before: Quiz, after: Quiz, now_ms: int) -> list[str]:
    """The problems that the change brings to running campaigns of the quiz, a line for each campaign.

    Its row is locked, and a campaign is saved with `quizzes_unchanged`: none is missed.
    """
    broken = []
    running = {"tenant": after.tenant_id, "quiz": after.quiz_id, "now_ms": now_ms}
    for (definition,) in connection.execute(QUERIES["running_campaigns"], running):
        campaign = msgspec.convert(definition, Campaign)
        others = [
            quiz
            for quiz_id in campaign.quiz_ids
            if quiz_id != after.quiz_id and (quiz := get_quiz(connection, quiz_id)) is not None
        ]
        known = quiz_check.problems(
            campaign.conditions, campaign.message, [*others, before], campaign.next_channels
        )
        found = quiz_check.problems(
            campaign.conditions, campaign.message, [*others, after], campaign.next_channels
        )
        new = [problem for problem in found if problem not in known]
        if new:
            broken.append(f'campaign "{campaign.campaign_id}" needs it as it is: {", ".join(new)}')
    if len(broken) > CAMPAIGNS_NAMED_MAX:
        broken[CAMPAIGNS_NAMED_MAX:] = [f"and {len(broken) - CAMPAIGNS_NAMED_MAX} more campaigns"]
    return [*broken, "save or cancel these campaigns first"] if broken else []


def _quiz(quiz_id: str, row: tuple[object, ...] | None) -> Quiz | None:
    if row is None:
        return None
    tenant_id, version, title, questions, is_open, created_at, former_questions = row
    return Quiz(
        quiz_id=quiz_id,
        tenant_id=str(tenant_id),
        version=int(str(version)),
        title=str(title),
        questions=msgspec.convert(questions, list[Question]),
        created_at=int(str(created_at)),
        open=bool(is_open),
        former_questions=msgspec.convert(former_questions, list[str]),
    )


def _page(stored: object) -> QuizPage | None:
    return None if stored is None else msgspec.convert(stored, QuizPage)


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
    if draft.page is not None:
        texts = {question.question_id: question.text for question in draft.questions}
        problems += quiz_page.problems(draft.page, texts)
    return problems

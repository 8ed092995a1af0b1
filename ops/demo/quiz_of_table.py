"""The quiz of a table of answers: the existing one, or one created from the header."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ops.demo.answer_table import AnswerTable, HeaderInvalid
from schemas.records import Question, Quiz
from sinks.postgres.catalogue import catalogue
from sinks.postgres.catalogue.catalogue import QuizDraft
from sinks.postgres.connect import connect


def quiz_for(database_url: str, table: AnswerTable, quiz_id: str, tenant_id: str) -> Quiz:
    """Return the quiz; create it in `tenant_id` (and the tenant) if it does not exist.

    Raises HeaderInvalid if the existing quiz lacks a column of the table, and the catalogue's Rejection.
    """
    with connect(database_url, "replay") as connection:
        known = catalogue.get_quiz(connection, quiz_id)
        if known is None:
            with connection.transaction():
                if connection.execute(catalogue.QUERIES["tenant_exists"], [tenant_id]).fetchone() is None:
                    catalogue.save_tenant(connection, tenant_id, tenant_id)
                questions = [Question(question_id=name) for name in table.questions]
                draft = QuizDraft(quiz_id, tenant_id, _title(table.path) or quiz_id, questions)
                return catalogue.save_quiz(connection, draft, int(time.time() * 1000))
    asked = {question.question_id for question in known.questions}
    strange = [name for name in table.questions if name not in asked]
    if asked and strange:
        raise HeaderInvalid(
            f"Quiz {quiz_id} has no question {strange[0]!r}, which {table.path} has as a column: "
            "choose another --quiz, or remove the column."
        )
    return known


def quiz_named(database_url: str, quiz_id: str) -> Quiz:
    """Return the quiz. Raises HeaderInvalid if it does not exist."""
    with connect(database_url, "replay") as connection:
        known = catalogue.get_quiz(connection, quiz_id)
    if known is None:
        raise HeaderInvalid(f"There is no quiz {quiz_id}.")
    return known


def _title(path: Path) -> str:
    """The file's name as text: where the locale is not UTF-8, Python keeps its other bytes as surrogates."""
    return os.fsencode(path.stem).decode("utf-8", "replace")

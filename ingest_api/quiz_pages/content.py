"""The content of a page, as its JSON form shows it: a quiz joined with the way in which it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from ingest_api.quiz_pages.texts import BY_LANGUAGE
from schemas.quiz_page import (
    STEPS_MAX,
    ConsentText,
    FreeText,
    Input,
    Language,
    Number,
    QuizPage,
    Scale,
)

COMPLETIONS = "/quiz/{quiz_id}/completions"


class PublicQuestion(msgspec.Struct, frozen=True):
    """A question without its right answer."""

    question_id: str
    text: str = ""


class StoredQuiz(msgspec.Struct, frozen=True):
    """What PostgreSQL has of a quiz, without right answers."""

    quiz_id: str
    version: int
    title: str
    open: bool
    questions: list[PublicQuestion]
    page: QuizPage
    tenant_language: Language


class ShownQuestion(msgspec.Struct, frozen=True):
    question_id: str
    text: str
    input: Input
    required: bool
    hint: str


class Contact(msgspec.Struct, frozen=True):
    fields: Sequence[Literal["name", "phone", "email"]]
    consent: ConsentText


class Content(msgspec.Struct, frozen=True):
    """`completions`: where the answers are posted."""

    quiz_id: str
    title: str
    language: Language
    open: bool
    intro: str
    thanks: str
    accent: str
    questions: Sequence[ShownQuestion]
    contact: Contact | None
    completions: str


def content_of(quiz: StoredQuiz, answer_chars_max: int) -> Content:
    """A question without an input is answered by a text; its id is shown where it has no text."""
    page = quiz.page
    language = page.language or quiz.tenant_language
    texts = BY_LANGUAGE[language]
    asked = {question_id: one for one in page.asked for question_id in one.questions}
    free = FreeText(chars_max=min(FreeText().chars_max, answer_chars_max))
    questions = []
    for question in quiz.questions:
        one = asked.get(question.question_id)
        questions.append(
            ShownQuestion(
                question.question_id,
                question.text or question.question_id,
                free if one is None else _shown(one.input),
                one is not None and one.required,
                "" if one is None else one.hint,
            )
        )
    contact = page.contact
    return Content(
        quiz_id=quiz.quiz_id,
        title=quiz.title,
        language=language,
        open=quiz.open,
        intro=page.intro,
        thanks=page.thanks or texts.thanks,
        accent=page.accent,
        questions=questions,
        contact=None if contact is None else Contact(contact.fields, contact.consent or texts.consent),
        completions=COMPLETIONS.format(quiz_id=quiz.quiz_id),
    )


def _shown(one: Input) -> Input:
    """A scale with more steps than can be saved, from another source than the catalogue, is a number."""
    if not isinstance(one, Scale) or 1 <= one.highest - one.lowest < STEPS_MAX:
        return one
    return Number(one.lowest, one.highest) if one.lowest < one.highest else Number()

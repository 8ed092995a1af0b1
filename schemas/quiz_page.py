"""How a quiz is shown to a person: language, texts, options, colour. It is stored beside the questions.

It has no right answers, so that nothing that shows a page has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec

OPTIONS_MAX = 50
STEPS_MAX = 11
WHOLE_MAX = 2**53 - 1  # of the numbers that every browser reads and sends without rounding
ASKED_MAX = 500
PAGE_CHARS_MAX = 200_000  # a page is in memory, in Valkey and on a phone
DEFAULT_ACCENT = "#0b6e69"

Language = Literal["pt-BR", "en"]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
QuestionId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Colour = Annotated[str, msgspec.Meta(pattern=r"^#[0-9a-f]{6}$(?!\n)")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Option(_Strict, frozen=True):
    """`value` is the answer that is stored."""

    value: Label
    label: Label


class Choice(_Strict, frozen=True, tag="choice", tag_field="kind"):
    """One option, or several."""

    options: Annotated[list[Option], msgspec.Meta(min_length=2, max_length=OPTIONS_MAX)]
    several: bool = False


class Scale(_Strict, frozen=True, tag="scale", tag_field="kind"):
    """A whole number from `lowest` to `highest`, each end with its meaning."""

    lowest: int
    highest: int
    lowest_label: Label
    highest_label: Label


class Number(_Strict, frozen=True, tag="number", tag_field="kind"):
    lowest: int | None = None
    highest: int | None = None


class FreeText(_Strict, frozen=True, tag="text", tag_field="kind"):
    chars_max: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 200
    several_lines: bool = False


Input = Choice | Scale | Number | FreeText


class Asked(_Strict, frozen=True):
    """The input of some questions. A question without one is answered by a text."""

    questions: Annotated[list[QuestionId], msgspec.Meta(min_length=1, max_length=ASKED_MAX)]
    input: Input
    required: bool = False
    hint: Text = ""


class ConsentText(_Strict, frozen=True):
    """What a person agrees to. `text_id` is stored with the decision: a new text needs a new id."""

    text_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    text: Text


class ContactForm(_Strict, frozen=True):
    """Without a `consent` the page shows the usual text of its language."""

    fields: Annotated[list[Literal["name", "phone", "email"]], msgspec.Meta(min_length=1, max_length=3)]
    consent: ConsentText | None = None


class QuizPage(_Strict, frozen=True):
    """`language` None: that of the tenant. `accent`: the colour of buttons and marks."""

    language: Language | None = None
    intro: Text = ""
    thanks: Text = ""
    accent: Colour = DEFAULT_ACCENT
    asked: Annotated[list[Asked], msgspec.Meta(max_length=ASKED_MAX)] = []
    contact: ContactForm | None = None


def problems(page: QuizPage, questions: Mapping[str, str]) -> Iterator[str]:
    """Yield why the page cannot be saved with these questions, a line each. `questions`: id -> text."""
    seen: set[str] = set()
    chars = _chars(page, questions)
    if chars > PAGE_CHARS_MAX:
        yield f"its page would show {chars} characters; at most {PAGE_CHARS_MAX} are possible"
    for asked in page.asked:
        for question_id in asked.questions:
            if question_id not in questions:
                yield f'its page has an input for "{question_id}", which is not a question'
            if question_id in seen:
                yield f'its page has two inputs for "{question_id}"'
            seen.add(question_id)
        yield from _input_problems(asked.input, asked.questions[0])
    if page.contact is not None and len(set(page.contact.fields)) < len(page.contact.fields):
        yield "its page has a contact field twice"
    for text in _texts(page):
        if "\x00" in text:
            yield "a text of its page contains U+0000, which cannot be stored"
            return


def _chars(page: QuizPage, questions: Mapping[str, str]) -> int:
    """The options of one input are shown at each of its questions."""
    chars = sum(len(text) for text in questions.values())
    for asked in page.asked:
        own = len(asked.hint)
        if isinstance(asked.input, Choice):
            own += sum(len(option.value) + len(option.label) for option in asked.input.options)
        elif isinstance(asked.input, Scale):
            own += len(asked.input.lowest_label) + len(asked.input.highest_label)
        chars += own * len(asked.questions)
    return chars


def _input_problems(one: Input, question_id: str) -> Iterator[str]:
    if isinstance(one, Choice):
        values = [option.value for option in one.options]
        if len(set(values)) < len(values):
            yield f'two options of "{question_id}" have the same value'
    elif isinstance(one, Scale):
        if max(abs(one.lowest), abs(one.highest)) > WHOLE_MAX:
            yield f'the scale of "{question_id}" must be between -{WHOLE_MAX} and {WHOLE_MAX}'
        if not 1 <= one.highest - one.lowest < STEPS_MAX:
            yield f'the scale of "{question_id}" must have 2 to {STEPS_MAX} steps'
    elif isinstance(one, Number):
        if any(abs(end) > WHOLE_MAX for end in (one.lowest, one.highest) if end is not None):
            yield f'the numbers of "{question_id}" must be between -{WHOLE_MAX} and {WHOLE_MAX}'
        if one.lowest is not None and one.highest is not None and one.lowest > one.highest:
            yield f'the lowest number of "{question_id}" is above the highest'


def _texts(page: QuizPage) -> Iterator[str]:
    yield page.intro
    yield page.thanks
    for asked in page.asked:
        yield asked.hint
        yield from asked.questions
        if isinstance(asked.input, Choice):
            for option in asked.input.options:
                yield option.value
                yield option.label
        elif isinstance(asked.input, Scale):
            yield asked.input.lowest_label
            yield asked.input.highest_label
    if page.contact is not None and page.contact.consent is not None:
        yield page.contact.consent.text_id
        yield page.contact.consent.text

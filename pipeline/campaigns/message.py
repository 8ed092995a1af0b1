"""A campaign's message: checked when it is saved, and rendered and checked again for each contact.

Both functions are pure. `check` rejects a message that could be empty or incomplete for some contact;
`render` fills in one contact's values and does not rely on `check`: contacts and answers are untrusted input.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from schemas.records import Message, Personal, Quiz, Variable

# Sizes of the Cloud API's message objects (docs/providers.md).
TEXT_CHARS_MAX = 4096
CAPTION_CHARS_MAX = 1024
TEMPLATE_NAME_CHARS_MAX = 512
TEMPLATE_PARAMETER_CHARS_MAX = 1024
IMAGE_URL_CHARS_MAX = 2048

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

# Written by programs in place of a missing value: never shown as a value.
NOTHING_WORDS = frozenset({"none", "null", "nan", "undefined"})

# Letters by category, but without a visible glyph.
INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

PLACE = re.compile(r"\{([^{}]*)\}")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
TEMPLATE_NAME = re.compile(r"[a-z0-9_]+\Z")
LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z]{2,4})?\Z")
ANSWER_SOURCE = "answers."
SOURCES = frozenset({"contact.name", "contact.email", "score", "quiz.title"})


class Rendered(msgspec.Struct, frozen=True):
    """One contact's message, complete. `text` is a text's body or an image's caption (None: no caption)."""

    kind: str
    text: str | None = None
    template: str | None = None
    language: str | None = None
    parameters: tuple[str, ...] = ()
    image_url: str | None = None


class NotRenderable(msgspec.Struct, frozen=True):
    """The message cannot be rendered for this contact; the reason holds no personal data."""

    reason: str


def check(message: Message, quiz: Quiz | None) -> list[str]:
    """The problems that forbid saving the message, one line each; empty if it is complete for every contact.

    `quiz` is the quiz whose completions it answers (call once for each of a campaign's); without one,
    questions and a score may be missing.
    """
    problems = list(_check_kind(message))
    names = [variable.name for variable in message.variables]
    problems += [
        f'variable "{name}" is defined twice' for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for variable in message.variables:
        problems += _check_variable(variable, quiz)
    if message.kind != "template":
        problems += _check_places(message, set(names))
    return problems


def render(message: Message, variables: Mapping[str, str], personal: Personal) -> Rendered | NotRenderable:
    """The message for one contact: complete, not empty, trimmed, within the provider's sizes.

    `variables` holds the values that do not come from personal data, by variable name. A blank value, or
    one with a brace (a place of another template language), counts as missing: the fallback replaces it.
    """
    values: dict[str, str] = {}
    for variable in message.variables:
        value = _value(variable, variables, personal)
        if value is None:
            return NotRenderable(
                f'variable "{variable.name}" ({variable.source}) has no value and no fallback'
            )
        values[variable.name] = value
    if message.kind == "template":
        return _render_template(message, values)
    return _render_text(message, values)


def is_blank(text: str) -> bool:
    """True for text without a visible character: spaces, controls, zero-width and filler characters."""
    return all(unicodedata.category(c)[0] in "ZC" or c in INVISIBLE_LETTERS for c in text)


def _check_kind(message: Message) -> list[str]:
    problems = []
    if message.kind == "template":
        name = message.template or ""
        if not TEMPLATE_NAME.match(name) or len(name) > TEMPLATE_NAME_CHARS_MAX:
            problems.append("a template needs its name at the provider (a-z, 0-9, _)")
        if not LANGUAGE.match(message.language):
            problems.append(f'language "{message.language}" is not a code like pt_BR')
        if message.text is not None:
            problems.append("the text of a template is kept by the provider: leave text out")
    elif message.template is not None:
        problems.append(f"a message of kind {message.kind} has no template")
    if message.kind == "text" and message.text is None:
        problems.append("a text message needs a text")
    if message.kind == "image":
        problems += _check_image_url(message.image_url)
    elif message.image_url is not None:
        problems.append(f"a message of kind {message.kind} has no image_url")
    return problems


def _check_image_url(url: str | None) -> list[str]:
    if not url:
        return ["an image message needs an image_url"]
    if len(url) > IMAGE_URL_CHARS_MAX:
        return [f"image_url is longer than {IMAGE_URL_CHARS_MAX} characters"]
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return ["image_url is not a URL"]
    if any(c.isspace() or c in "{}" for c in url) or not host:
        return ["image_url is not a URL"]
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK_HOSTS):
        return ["image_url must be https: the provider fetches no other scheme"]
    return []


def _check_variable(variable: Variable, quiz: Quiz | None) -> list[str]:
    problems = []
    if not VARIABLE_NAME.match(variable.name):
        problems.append(f'variable "{variable.name}": a name is letters, digits and _')
    if not _is_source(variable.source):
        problems.append(
            f'variable "{variable.name}": no source "{variable.source}" '
            "(contact.name, contact.email, score, quiz.title, answers.<question_id>)"
        )
        return problems
    if quiz is not None and variable.source.startswith(ANSWER_SOURCE):
        question_id = variable.source[len(ANSWER_SOURCE) :]
        if all(question.question_id != question_id for question in quiz.questions):
            problems.append(
                f'variable "{variable.name}": quiz {quiz.quiz_id} has no question "{question_id}"'
            )
    if variable.fallback is not None:
        if _usable(variable.fallback) is None:
            problems.append(f'variable "{variable.name}": the fallback is blank or holds a brace')
    elif _may_be_missing(variable.source, quiz):
        problems.append(
            f'variable "{variable.name}": {variable.source} may be missing, so it needs a fallback'
        )
    return problems


def _check_places(message: Message, names: set[str]) -> list[str]:
    text = message.text
    if text is None:
        return [f'variable "{name}" is not used' for name in sorted(names)]
    problems = []
    if is_blank(text):
        problems.append("the text is empty: leave it out or write one")
    places = PLACE.findall(text)
    problems += [f"{{{place}}} has no variable of that name" for place in sorted(set(places) - names)]
    problems += [f'variable "{name}" is not used' for name in sorted(names - set(places))]
    if "{" in PLACE.sub("", text) or "}" in PLACE.sub("", text):
        problems.append("a brace in the text opens or closes no {variable}")
    fallbacks = {variable.name: variable.fallback or "" for variable in message.variables}
    shortest = PLACE.sub(lambda place: fallbacks.get(place[1], ""), text).strip()
    if len(shortest) > _text_chars_max(message):
        problems.append(f"the text is longer than {_text_chars_max(message)} characters")
    if not _encodes(text):
        problems.append("the text holds a lone surrogate")
    return problems


def _is_source(source: str) -> bool:
    return source in SOURCES or (source.startswith(ANSWER_SOURCE) and len(source) > len(ANSWER_SOURCE))


def _may_be_missing(source: str, quiz: Quiz | None) -> bool:
    if source == "quiz.title":
        return quiz is not None and _usable(quiz.title) is None
    if source == "score":
        return quiz is None or all(question.right_answer is None for question in quiz.questions)
    return True


def _value(variable: Variable, variables: Mapping[str, str], personal: Personal) -> str | None:
    match variable.source:
        case "contact.name":
            given = personal.name
        case "contact.email":
            given = personal.email
        case _:
            given = variables.get(variable.name)
    for candidate in (given, variable.fallback):
        usable = None if candidate is None else _usable(candidate)
        if usable is not None:
            return usable
    return None


def _usable(value: str) -> str | None:
    trimmed = value.strip()
    if is_blank(trimmed) or trimmed.lower() in NOTHING_WORDS or "{" in trimmed or "}" in trimmed:
        return None
    return trimmed if _encodes(trimmed) else None


def _encodes(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _text_chars_max(message: Message) -> int:
    return CAPTION_CHARS_MAX if message.kind == "image" else TEXT_CHARS_MAX


def _render_template(message: Message, values: Mapping[str, str]) -> Rendered | NotRenderable:
    if not message.template:
        return NotRenderable("the template has no name")
    # The provider rejects line breaks, tabs and more than four spaces in a row inside a parameter.
    parameters = tuple(" ".join(values[variable.name].split()) for variable in message.variables)
    if any(len(parameter) > TEMPLATE_PARAMETER_CHARS_MAX for parameter in parameters):
        return NotRenderable(f"a template parameter is longer than {TEMPLATE_PARAMETER_CHARS_MAX} characters")
    return Rendered("template", template=message.template, language=message.language, parameters=parameters)


def _render_text(message: Message, values: Mapping[str, str]) -> Rendered | NotRenderable:
    if message.kind == "image" and not message.image_url:
        return NotRenderable("the image has no address")
    if message.text is None:
        if message.kind == "image":
            return Rendered("image", image_url=message.image_url)
        return NotRenderable("the text is empty")
    unknown = sorted({place for place in PLACE.findall(message.text) if place not in values})
    if unknown:
        return NotRenderable(f"{{{unknown[0]}}} has no variable of that name")
    text = PLACE.sub(lambda place: values[place[1]], message.text).strip()
    if is_blank(text):
        return NotRenderable("the text is empty")
    if "{" in text or "}" in text or not _encodes(text):
        return NotRenderable("the text holds a brace that was not filled, or a lone surrogate")
    if len(text) > _text_chars_max(message):
        return NotRenderable(f"the text is longer than {_text_chars_max(message)} characters")
    return Rendered(message.kind, text=text, image_url=message.image_url if message.kind == "image" else None)

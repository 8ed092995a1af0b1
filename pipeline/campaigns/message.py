"""A campaign's message: checked when it is saved, and rendered and checked again for each contact.

Both functions are pure. `check` rejects a message that could be empty or incomplete for some contact;
`render` fills in one contact's values and does not rely on `check`: contacts and answers are untrusted input.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from pipeline.campaigns.free_text import (
    FREE_TEXT_CHARS_MAX,
    in_lines,
    in_one_line,
    is_address,
    without_links,
)
from schemas.records import Message, Personal, Quiz, Variable

# Sizes of the Cloud API's message objects (docs/providers.md).
TEXT_CHARS_MAX = 4096
CAPTION_CHARS_MAX = 1024
TEMPLATE_NAME_CHARS_MAX = 512
TEMPLATE_PARAMETER_CHARS_MAX = 1024
IMAGE_URL_CHARS_MAX = 2048
SUBJECT_CHARS_MAX = 150  # of an e-mail
SCORE_CHARS_MAX = 20  # of a score that the edge computed: a count of right answers

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

# Written by programs in place of a missing value: never shown as a value.
NOTHING_WORDS = frozenset({"none", "null", "nan", "undefined"})

# Letters by category, but without a visible glyph.
INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")

PLACE = re.compile(r"\{([^{}]*)\}")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
TEMPLATE_NAME = re.compile(r"[a-z0-9_]+\Z")
LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z]{2,4})?\Z")
ANSWER_SOURCE = "answers."
SOURCES = frozenset({"contact.name", "contact.email", "score", "quiz.title"})
TENANT_SOURCES = frozenset({"score", "quiz.title"})  # the others are what a contact typed

# Why a contact's value is not sent as it was given: labels of a metric.
LINK_REMOVED = "link removed"
TOO_LONG = "too long"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Sizes:
    """The longest texts that a channel carries, in characters."""

    text_chars_max: int
    caption_chars_max: int
    parameter_chars_max: int

    def text_max(self, kind: str) -> int:
        """Of a message's own text: the body of a text, else the caption."""
        return self.text_chars_max if kind == "text" else self.caption_chars_max


SIZES = Sizes(TEXT_CHARS_MAX, CAPTION_CHARS_MAX, TEMPLATE_PARAMETER_CHARS_MAX)


class Rendered(msgspec.Struct, frozen=True):
    """One contact's message, complete. `text` is a text's body or an image's caption (None: no caption).

    `subject` is of an e-mail; None: it has no own.
    `changes` has LINK_REMOVED, TOO_LONG, REJECTED, each once, where a value is not sent as it was given.
    """

    kind: str
    text: str | None = None
    template: str | None = None
    language: str | None = None
    parameters: tuple[str, ...] = ()
    image_url: str | None = None
    changes: tuple[str, ...] = ()
    subject: str | None = None


class NotRenderable(msgspec.Struct, frozen=True):
    """The message cannot be rendered for this contact; the reason holds no personal data."""

    reason: str


def check(message: Message, quiz: Quiz | None) -> list[str]:
    """The problems that forbid saving the message, one line each; empty if it is complete for every contact.

    `quiz` is the quiz whose completions it answers (call once for each of a campaign's); without one,
    questions and a score may be missing. One without listed questions may have any.
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
    if message.subject is not None:
        problems += _check_subject(message, message.subject, set(names), quiz)
    return problems + _check_sizes(message, quiz)


def render(
    message: Message,
    variables: Mapping[str, str],
    personal: Personal,
    sizes: Sizes = SIZES,
    *,
    with_fallbacks: bool = False,
) -> Rendered | NotRenderable:
    """The message for one contact: complete, not empty, trimmed, within the channel's sizes.

    `variables` holds the values that do not come from personal data, by variable name. The fallback replaces

    - a blank value, and one with a brace (a place of another template language);
    - a stranger's text that is longer than its variable allows;
    - as many values, the longest first, as make the message too long for the channel;
    - `with_fallbacks`: each value that a contact typed, since the provider has rejected a message with them.

    `sizes` are those of the channel. A message whose own text is longer than them, and not than SIZES, is
    rendered: the provider's check rejects it, and the campaign stops after several.
    """
    changes: set[str] = set()
    values: dict[str, str] = {}
    for variable in message.variables:
        value = _value(variable, variables, personal, changes, with_fallbacks)
        if value is None:
            return NotRenderable(
                f'variable "{variable.name}" ({variable.source}) has no value and no fallback'
            )
        values[variable.name] = value
    if message.kind == "template":
        return _render_template(message, values, sizes, changes)
    return _render_text(message, values, sizes, changes)


def has_fallbacks(
    message: Message, variables: Mapping[str, str], personal: Personal, sizes: Sizes = SIZES
) -> bool:
    """Whether the contact gets another message where fallbacks replace what a contact typed."""
    given, other = (
        render(message, variables, personal, sizes, with_fallbacks=with_fallbacks)
        for with_fallbacks in (False, True)
    )
    if isinstance(given, NotRenderable) or isinstance(other, NotRenderable):
        return False
    return msgspec.structs.replace(given, changes=()) != msgspec.structs.replace(other, changes=())


def is_blank(text: str) -> bool:
    """True for text without a visible character of its own.

    Spaces, controls, zero-width and filler characters, and marks that only change another character: accents
    and variation selectors.
    """
    return all(unicodedata.category(c)[0] in "ZCM" or c in INVISIBLE_LETTERS for c in text)


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
    question_id = variable.source.removeprefix(ANSWER_SOURCE)
    if quiz is not None and question_id != variable.source and not _may_be_answered(question_id, quiz):
        problems.append(f'variable "{variable.name}": quiz {quiz.quiz_id} has no question "{question_id}"')
    if variable.chars_max is not None and not 1 <= variable.chars_max <= TEXT_CHARS_MAX:
        problems.append(f'variable "{variable.name}": chars_max must lie between 1 and {TEXT_CHARS_MAX}')
    if variable.source in TENANT_SOURCES and (
        variable.links_allowed or variable.line_breaks_allowed or variable.chars_max is not None
    ):
        problems.append(
            f'variable "{variable.name}": links_allowed, line_breaks_allowed and chars_max are for names, '
            "e-mail addresses and answers"
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
    problems = [] if message.text is None else _check_text("text", message.text, names)
    used = {place for text in (message.text, message.subject) for place in PLACE.findall(text or "")}
    return problems + [f'variable "{name}" is not used' for name in sorted(names - used)]


def _check_text(name: str, text: str, names: set[str]) -> list[str]:
    problems = []
    if is_blank(text):
        problems.append(f"the {name} is empty: leave it out or write one")
    places = set(PLACE.findall(text))
    problems += [f"{{{place}}} has no variable of that name" for place in sorted(places - names)]
    if "{" in PLACE.sub("", text) or "}" in PLACE.sub("", text):
        problems.append(f"a brace in the {name} opens or closes no {{variable}}")
    if not _encodes(text):
        problems.append(f"the {name} holds a lone surrogate")
    return problems


def _check_subject(message: Message, subject: str, names: set[str], quiz: Quiz | None) -> list[str]:
    problems = _check_text("subject", subject, names)
    if not subject.isprintable():
        problems.append("the subject holds a line break or a control character")
    if _shortest(message, subject, quiz) > SUBJECT_CHARS_MAX:
        problems.append(f"the subject is longer than {SUBJECT_CHARS_MAX} characters")
    return problems


def _check_sizes(message: Message, quiz: Quiz | None) -> list[str]:
    """With every value that can be replaced by its fallback, the message must fit."""
    if message.kind == "template":
        least = {variable.name: _least(variable, quiz) for variable in message.variables}
        most = SIZES.parameter_chars_max
        return [
            f'variable "{name}": {"the fallback" if variable.fallback else variable.source} '
            f"is longer than {most} characters"
            for variable in message.variables
            if len(least[name := variable.name]) > most
        ]
    most = SIZES.text_max(message.kind)
    shortest = _shortest(message, message.text or "", quiz)
    return [f"the text is longer than {most} characters"] if shortest > most else []


def _shortest(message: Message, text: str, quiz: Quiz | None) -> int:
    least = {variable.name: _least(variable, quiz) for variable in message.variables}
    return len(PLACE.sub(lambda place: least.get(place[1], ""), text).strip())


def _least(variable: Variable, quiz: Quiz | None) -> str:
    """What stands for the variable at least; a text of that length where the value is not known."""
    if variable.fallback is not None:
        return variable.fallback.strip()
    if variable.source == "quiz.title" and quiz is not None:
        return quiz.title.strip()
    return "0" * SCORE_CHARS_MAX if variable.source == "score" else ""


def _is_source(source: str) -> bool:
    question_id = source.removeprefix(ANSWER_SOURCE)
    return source in SOURCES or (question_id != source and bool(question_id.strip()))


def _may_be_answered(question_id: str, quiz: Quiz) -> bool:
    """A quiz that lists no questions takes any."""
    return not quiz.questions or any(question.question_id == question_id for question in quiz.questions)


def _may_be_missing(source: str, quiz: Quiz | None) -> bool:
    if source == "quiz.title":
        return quiz is not None and _usable(quiz.title) is None
    if source == "score":
        return quiz is None or all(question.right_answer is None for question in quiz.questions)
    return True


def _value(
    variable: Variable,
    variables: Mapping[str, str],
    personal: Personal,
    changes: set[str],
    with_fallbacks: bool,
) -> str | None:
    source = variable.source
    if source == "contact.name":
        given = personal.name
    elif source == "contact.email":
        given = personal.email
    else:
        given = variables.get(variable.name)
    if given is not None and source not in TENANT_SOURCES:
        given = _as_allowed(given, variable, changes)
    usable = None if given is None else _usable(given)
    if (
        with_fallbacks
        and usable is not None
        and source not in TENANT_SOURCES
        and _spare(variable) is not None
    ):
        changes.add(REJECTED)
        usable = None
    return _spare(variable) if usable is None else usable


def _spare(variable: Variable) -> str | None:
    return None if variable.fallback is None else _usable(variable.fallback)


def _as_allowed(given: str, variable: Variable, changes: set[str]) -> str | None:
    """A stranger's text as its variable allows it; None if it is too long."""
    text = in_lines(given) if variable.line_breaks_allowed else in_one_line(given)
    if not variable.links_allowed and not (variable.source == "contact.email" and is_address(text)):
        unlinked = without_links(text)
        if unlinked != text:
            changes.add(LINK_REMOVED)
        text = unlinked
    if len(text) > (variable.chars_max or FREE_TEXT_CHARS_MAX):
        changes.add(TOO_LONG)
        return None
    return text


def _usable(value: str) -> str | None:
    trimmed = value.strip()
    if is_blank(trimmed) or trimmed.lower() in NOTHING_WORDS or "{" in trimmed or "}" in trimmed:
        return None
    return trimmed if _encodes(trimmed) else None


def _encodes(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _render_template(
    message: Message, values: Mapping[str, str], sizes: Sizes, changes: set[str]
) -> Rendered | NotRenderable:
    if not message.template:
        return NotRenderable("the template has no name")
    most = sizes.parameter_chars_max
    parameters = []
    for variable in message.variables:
        # The provider rejects line breaks, tabs and more than four spaces in a row inside a parameter.
        parameter = " ".join(values[variable.name].split())
        if len(parameter) > most and (spare := _spare(variable)) is not None:
            changes.add(TOO_LONG)
            parameter = " ".join(spare.split())
        if len(parameter) > max(most, SIZES.parameter_chars_max):
            return NotRenderable(f"a template parameter is longer than {most} characters")
        parameters.append(parameter)
    return Rendered(
        "template",
        template=message.template,
        language=message.language,
        parameters=tuple(parameters),
        changes=tuple(sorted(changes)) if changes else (),
    )


def _render_text(
    message: Message, values: dict[str, str], sizes: Sizes, changes: set[str]
) -> Rendered | NotRenderable:
    if message.kind == "image" and not message.image_url:
        return NotRenderable("the image has no address")
    if message.text is None:
        if message.kind == "image":
            return Rendered("image", image_url=message.image_url)
        return NotRenderable("the text is empty")
    unknown = sorted({place for place in PLACE.findall(message.text) if place not in values})
    if unknown:
        return NotRenderable(f"{{{unknown[0]}}} has no variable of that name")
    most = sizes.text_max(message.kind)
    text = _fill(message.text, values)
    if len(text) > most:
        for name, spare in _by_saving(message, values):
            values[name] = spare
            changes.add(TOO_LONG)
            text = _fill(message.text, values)
            if len(text) <= most:
                break
    if is_blank(text):
        return NotRenderable("the text is empty")
    if "{" in text or "}" in text or not _encodes(text):
        return NotRenderable("the text holds a brace that was not filled, or a lone surrogate")
    if len(text) > max(most, SIZES.text_max(message.kind)):
        return NotRenderable(f"the text is longer than {most} characters")
    return Rendered(
        message.kind,
        text=text,
        image_url=message.image_url if message.kind == "image" else None,
        changes=tuple(sorted(changes)) if changes else (),
        subject=_subject(message, values),
    )


def _subject(message: Message, values: Mapping[str, str]) -> str | None:
    """Filled in, in one line; None where there is none, or nothing of it can be shown."""
    if message.subject is None or not set(PLACE.findall(message.subject)) <= set(values):
        return None
    subject = in_one_line(_fill(message.subject, values))
    return None if is_blank(subject) or not _encodes(subject) or "{" in subject else subject


def _fill(text: str, values: Mapping[str, str]) -> str:
    return PLACE.sub(lambda place: values[place[1]], text).strip()


def _by_saving(message: Message, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables that a fallback makes shorter, each with it; the one that saves the most comes first."""
    places = PLACE.findall(message.text or "")
    found = []
    for variable in message.variables:
        spare = _spare(variable)
        if spare is not None and len(spare) < len(values[variable.name]):
            saved = (len(values[variable.name]) - len(spare)) * places.count(variable.name)
            found.append((saved, variable.name, spare))
    return [(name, spare) for _, name, spare in sorted(found, reverse=True)]

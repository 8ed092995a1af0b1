"""Handler of `POST /quiz/{quiz_id}`: the form of a page without a script becomes a completion.

Its fields: `answer:<question id>`, `name`, `phone`, `email`, `consent` (present: granted), `consent_text`.

The page states what its questions are, in a field for each: `number`, `several` and `required`, with
the question's id. So answers have the types that they have with the script, and a required one is required,
also while the page is in no cache, or has changed since it was shown.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ingest_api.http.body import read_body
from ingest_api.http.headers import by_name
from ingest_api.http.problems import (
    INVALID_BODY,
    MISSING_ANSWER,
    NOT_A_FORM,
    TOO_MANY_ANSWERS,
    pointer,
    rejection,
    shown,
)
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.quiz_pages.headers import NO_STORE
from pipeline.topology.file import Edge
from schemas.quiz_page import WHOLE_MAX

Handler = Callable[[Scope, Receive], Awaitable[Reply]]

ANSWER = "answer:"
CONTACT_FIELDS = ("name", "phone", "email")
FIELDS_OF_A_QUESTION_MAX = 4  # several choices are a field each
OTHER_FIELDS_MAX = 8
SEE_OTHER = 303


class ReceiveForm:
    """Hands the completion to the handler of completions: limits, checks and durability are the same."""

    def __init__(self, completions: Handler, edge: Edge) -> None:
        self._completions = completions
        self._bytes_max = edge.body_bytes_max
        self._fields_max = edge.answers_max * FIELDS_OF_A_QUESTION_MAX + OTHER_FIELDS_MAX

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        headers = by_name(scope["headers"])
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != b"application/x-www-form-urlencoded":
            raise rejection(NOT_A_FORM, "Content-Type must be application/x-www-form-urlencoded")
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise rejection(NOT_A_FORM, "Content-Encoding is not supported")
        content = await read_body(receive, headers, self._bytes_max)
        body, key = self._submission(content)
        kept = [(name, value) for name, value in scope["headers"] if name not in _REPLACED]
        kept.append((b"content-type", b"application/json"))
        if key is not None:
            kept.append((b"idempotency-key", key))
        reply = await self._completions({**scope, "headers": kept}, _whole(body))
        if reply.status != 202:
            return reply
        thanks = f"/quiz/{scope['path_params']['quiz_id']}/thanks".encode()
        stated = tuple(header for header in reply.headers if header[0] in _STATED)
        return Reply(SEE_OTHER, b"", b"text/plain", ((b"location", thanks), *NO_STORE, *stated))

    def _submission(self, content: bytes) -> tuple[bytes, bytes | None]:
        """Return the body of a completion, and its idempotency key.

        A page that is the same for all has no key of its own. With a phone the same content is the same
        completion; without one two people may answer alike, so that each request is one.
        """
        try:
            fields = parse_qsl(
                content.decode(),
                keep_blank_values=True,
                max_num_fields=self._fields_max,
                encoding="utf-8",
                errors="strict",
            )
        except UnicodeDecodeError:
            raise rejection(INVALID_BODY, "the form is not UTF-8") from None
        except ValueError:
            raise rejection(TOO_MANY_ANSWERS, f"the form has more than {self._fields_max} fields") from None
        contact: dict[str, Any] = {}
        given = dict(fields)
        for name, value in fields:
            if name in CONTACT_FIELDS and value.strip():
                contact[name] = value
        answers = _answers(fields)
        if contact and given.get("consent_text"):
            contact["consent"] = {"granted": "consent" in given, "text": given["consent_text"]}
        body: dict[str, Any] = {"answers": answers}
        if contact:
            body["contact"] = contact
        encoded = msgspec.json.encode(body)
        if "phone" not in contact:
            return encoded, None
        return encoded, b"form-" + hashlib.sha256(encoded).hexdigest().encode()


def _answers(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Raises Rejection for a required question without an answer."""
    chosen: dict[str, list[str]] = {}
    stated: dict[str, set[str]] = {"number": set(), "several": set(), "required": set()}
    for name, value in fields:
        if name.startswith(ANSWER) and value.strip():
            chosen.setdefault(name.removeprefix(ANSWER), []).append(value)
        elif name in stated:
            stated[name].add(value)
    for question in sorted(stated["required"] - chosen.keys()):
        raise rejection(
            MISSING_ANSWER,
            f'question "{shown(question)}" is not answered',
            pointer=pointer("answers", question),
        )
    answers: dict[str, Any] = {}
    for question, values in chosen.items():
        if question in stated["several"] or len(values) > 1:
            answers[question] = values
        elif question in stated["number"]:
            answers[question] = _number(values[0].strip())
        else:
            answers[question] = values[0]
    return answers


def _number(text: str) -> int | float | str:
    """Return the number as the page's script sends it; the text where it is none."""
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) <= WHOLE_MAX else number


_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
_STATED = (b"ratelimit-policy", b"ratelimit")
_REPLACED = (b"content-type", b"content-length", b"idempotency-key", b"transfer-encoding")


def _whole(body: bytes) -> Receive:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive

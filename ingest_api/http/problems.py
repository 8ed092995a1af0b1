"""Every way in which the edge says no, as problem details (RFC 9457): a closed catalogue, each with advice.

`type` is `/problems/<slug>`, which the edge serves. Slugs are part of the interface: clients branch on them.
"""

from __future__ import annotations

import math
from urllib.parse import quote

import msgspec

from ingest_api.http.reply import Headers, Reply

MEDIA_TYPE = b"application/problem+json"

# What a client sent is shown in a refusal at this length at most.
SHOWN_CHARS_MAX = 80


class Kind(msgspec.Struct, frozen=True):
    """`advice` is for a client's developer; `retry` says whether the same request may succeed later."""

    slug: str
    status: int
    title: str
    advice: str
    retry: bool = False

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"


INVALID_JSON = Kind("invalid-json", 400, "The body is no JSON", "Send one JSON object, in UTF-8.")
NOT_HTTP = Kind("not-http", 400, "The request is no HTTP/1.1", "Send a well-formed request.")
HANDSHAKE_REFUSED = Kind(
    "handshake-refused",
    403,
    "The webhook's handshake does not match",
    "Set the same verify token on both sides.",
)
INVALID_TOKEN = Kind(
    "invalid-token", 401, "The bearer token is not known", "Leave the header out, or ask for a new token."
)
INVALID_SIGNATURE = Kind(
    "invalid-signature",
    401,
    "The signature does not match the body",
    "Sign the raw bytes with the app secret.",
)
WRONG_TENANT = Kind(
    "wrong-tenant", 403, "The token belongs to another tenant", "Use a token of the quiz's tenant."
)
NOT_FOUND = Kind("not-found", 404, "There is nothing here", "See /openapi.json for what there is.")
UNKNOWN_QUIZ = Kind(
    "unknown-quiz", 404, "There is no such quiz", "Check the quiz id in the address; make the quiz first."
)
UNKNOWN_SCHEMA = Kind(
    "unknown-schema",
    404,
    "There is no such schema, subject or version",
    "List what there is under /subjects.",
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", 405, "The address does not take this method", "Use a method of the Allow header."
)
BODY_TIMEOUT = Kind(
    "body-timeout", 408, "The body did not arrive in time", "Send it again, with the same key.", retry=True
)
CLOSED_QUIZ = Kind("closed-quiz", 409, "The quiz is closed", "It takes no completions any more.")
BODY_TOO_LARGE = Kind(
    "body-too-large", 413, "The body is too large", "Send less; the detail names the limit."
)
NOT_JSON = Kind(
    "unsupported-media-type",
    415,
    "The body must be JSON",
    "Send Content-Type: application/json, not encoded.",
)
INVALID_BODY = Kind(
    "invalid-body", 422, "The body is not of the expected shape", "See the pointer and /openapi.json."
)
REPEATED_FIELD = Kind(
    "repeated-field", 422, "A field is given twice", "Give each field and each question once."
)
UNSTORABLE_TEXT = Kind(
    "unstorable-text", 422, "A text holds a NUL character", "Remove U+0000: it cannot be stored."
)
INVALID_KEY = Kind(
    "invalid-idempotency-key",
    422,
    "The idempotency key cannot be used",
    "Use a printable key, such as a UUIDv7.",
)
CONFLICTING_KEYS = Kind(
    "conflicting-keys",
    422,
    "Two different idempotency keys",
    "Give the header or completion_id, or both alike.",
)
INVALID_PHONE = Kind(
    "invalid-phone",
    422,
    "The phone is no valid number",
    "Send E.164, such as +5547989211984, or leave it out.",
)
INVALID_EMAIL = Kind("invalid-email", 422, "The e-mail is no address", "Correct it, or leave it out.")
OUT_OF_TIME = Kind(
    "submitted-at-out-of-bounds", 422, "submitted_at is too far from now", "The detail names the bound."
)
UNKNOWN_QUESTION = Kind(
    "unknown-question", 422, "The quiz has no such question", "Use the question ids of the quiz."
)
TOO_MANY_ANSWERS = Kind("too-many-answers", 422, "There are too many answers", "The detail names the limit.")
TOO_LONG = Kind("text-too-long", 422, "A text is too long", "The detail names the limit.")
HEADERS_TOO_LARGE = Kind(
    "headers-too-large", 431, "The request's head is too large", "Send fewer or shorter headers."
)
INTERNAL = Kind(
    "internal", 500, "Something is wrong on our side", "Send it again, with the same key.", retry=True
)
LOG_UNAVAILABLE = Kind(
    "log-unavailable",
    503,
    "The completion could not be made durable",
    "Keep it and send it again after Retry-After, with the same key.",
    retry=True,
)
OVERLOADED = Kind(
    "overloaded",
    503,
    "Too many requests are waiting",
    "Keep it and send it again after Retry-After, with the same key.",
    retry=True,
)
NOT_READY = Kind(
    "not-ready",
    503,
    "The edge has not read the quizzes yet",
    "Keep it and send it again after Retry-After, with the same key.",
    retry=True,
)

CATALOGUE: tuple[Kind, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
BY_SLUG = {kind.slug: kind for kind in CATALOGUE}


class Problem(msgspec.Struct, frozen=True):
    """One refusal. `detail` shows no more of the input than `shown` lets through, and no phone or token.

    `pointer` is a JSON pointer into the body, as a URI fragment. `extra` are members of other protocols.
    """

    kind: Kind
    detail: str
    pointer: str | None = None
    retry_after_s: float | None = None
    headers: Headers = ()
    extra: dict[str, str | int] = {}

    def reply(self) -> Reply:
        members: dict[str, str | int] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        headers = self.headers
        if self.retry_after_s is not None:
            after = str(max(1, math.ceil(self.retry_after_s))).encode()
            headers = (*headers, (b"retry-after", after))
        return Reply(
            self.kind.status, msgspec.json.encode(members | self.extra), MEDIA_TYPE, headers, self.kind.slug
        )


class Refusal(Exception):
    """Ends a request with `problem`. Raised by anything between the route and the reply."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.kind.slug)
        self.problem = problem


def refusal(
    kind: Kind,
    detail: str,
    *,
    pointer: str | None = None,
    retry_after_s: float | None = None,
    headers: Headers = (),
) -> Refusal:
    return Refusal(Problem(kind, detail, pointer, retry_after_s, headers))


def shown(text: str) -> str:
    """What a client sent, cut to `SHOWN_CHARS_MAX`, for a detail."""
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"


def pointer(*path: str) -> str:
    """`pointer("answers", "q/1")` is `#/answers/q~11`: a JSON pointer (RFC 6901) as a URI fragment."""
    steps = (quote(shown(step).replace("~", "~0").replace("/", "~1"), safe="~") for step in path)
    return "#/" + "/".join(steps)

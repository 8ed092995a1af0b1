"""The closed catalogue of problem details (RFC 9457) with which the edge rejects requests.

`type` is `/problems/<slug>`, which the edge serves. Slugs are part of the interface: clients branch on them.
"""

from __future__ import annotations

import math
from urllib.parse import quote

import msgspec

from ingest_api.http.reply import Headers, Reply

MEDIA_TYPE = b"application/problem+json"

# The longest part of a client's input that a rejection shows.
SHOWN_CHARS_MAX = 80


class Kind(msgspec.Struct, frozen=True):
    """A type of problem.

    - `advice`: what the client's developer can do.
    - `retry`: whether the same request may succeed later.
    """

    slug: str
    status: int
    title: str
    advice: str
    retry: bool = False

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"


INVALID_JSON = Kind("invalid-json", 400, "The body is not JSON", "Send one JSON object, in UTF-8.")
NOT_HTTP = Kind("not-http", 400, "The request is not HTTP/1.1", "Send a well-formed request.")
REPEATED_HEADER = Kind(
    "repeated-header", 400, "A header is given twice", "Send Idempotency-Key and the like once."
)
AMBIGUOUS_FRAMING = Kind(
    "ambiguous-request",
    400,
    "The request can be read in two ways",
    "Send one Host, and no Transfer-Encoding but chunked.",
)
HANDSHAKE_REJECTED = Kind(
    "handshake-refused",
    403,
    "The webhook's handshake does not match",
    "Configure the same verify token on both sides.",
)
INVALID_TOKEN = Kind(
    "invalid-token", 401, "The bearer token is not valid", "Omit the header, or request a new token."
)
INVALID_SIGNATURE = Kind(
    "invalid-signature",
    401,
    "The signature does not match the body",
    "Sign the raw bytes with the app secret.",
)
WRONG_NUMBER = Kind(
    "wrong-number",
    403,
    "The body is about another number than the address",
    "Register at each instance the address of its own number: `quizstream number webhook`.",
)
WRONG_TENANT = Kind(
    "wrong-tenant", 403, "The token belongs to another tenant", "Use a token of the quiz's tenant."
)
NOT_FOUND = Kind("not-found", 404, "No such address", "See /openapi.json for the addresses.")
UNKNOWN_QUIZ = Kind(
    "unknown-quiz",
    404,
    "There is no such quiz",
    "Check the quiz id in the address; create it with `quizstream quiz add`.",
)
UNKNOWN_SCHEMA = Kind(
    "unknown-schema",
    404,
    "There is no such schema, subject or version",
    "List the subjects under /subjects.",
)
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", 405, "The address does not allow this method", "Use a method of the Allow header."
)
BODY_TIMEOUT = Kind(
    "body-timeout", 408, "The body did not arrive in time", "Send it again, with the same key.", retry=True
)
CLOSED_QUIZ = Kind("closed-quiz", 409, "The quiz is closed", "The quiz no longer accepts completions.")
BODY_TOO_LARGE = Kind(
    "body-too-large", 413, "The body is too large", "Send less; the detail names the limit."
)
NOT_JSON = Kind(
    "unsupported-media-type",
    415,
    "The body must be JSON",
    "Send Content-Type: application/json (or text/plain, as beacons do), in UTF-8, not encoded.",
)
NOT_A_FORM = Kind(
    "not-a-form",
    415,
    "The body must be a form",
    "Send application/x-www-form-urlencoded here, and JSON to /quiz/{quiz_id}/completions.",
)
INVALID_BODY = Kind(
    "invalid-body", 422, "The body is not of the expected shape", "See the pointer and /openapi.json."
)
REPEATED_FIELD = Kind(
    "repeated-field", 422, "A field is given twice", "Send each field and each question once."
)
UNSTORABLE_TEXT = Kind(
    "unstorable-text", 422, "A text contains a NUL character", "Remove U+0000: it cannot be stored."
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
    "Send the header or completion_id, or the same value in both.",
)
KEY_REUSED = Kind(
    "key-reused",
    422,
    "The idempotency key was used for another content",
    "Use a new key for a new completion; repeat a request with the same key and the same body.",
)
INVALID_PHONE = Kind(
    "invalid-phone",
    422,
    "The phone is not a valid number",
    "Send E.164, such as +5547989211984, or omit it.",
)
INVALID_EMAIL = Kind("invalid-email", 422, "The e-mail is not an address", "Correct it, or omit it.")
OUT_OF_TIME = Kind(
    "submitted-at-out-of-bounds", 422, "submitted_at is too far from now", "The detail names the bound."
)
UNKNOWN_QUESTION = Kind(
    "unknown-question", 422, "The quiz has no such question", "Use the question ids of the quiz."
)
MISSING_ANSWER = Kind(
    "missing-answer",
    422,
    "A required question is not answered",
    "Answer the question of the pointer. Only the form of a page requires answers.",
)
TOO_MANY_ANSWERS = Kind("too-many-answers", 422, "There are too many answers", "The detail names the limit.")
TOO_LONG = Kind("text-too-long", 422, "A text is too long", "The detail names the limit.")
HEADERS_TOO_LARGE = Kind(
    "headers-too-large", 431, "The request's head is too large", "Send fewer or shorter headers."
)
RATE_LIMITED = Kind(
    "rate-limited",
    429,
    "Too many requests",
    "Keep it and send it again after Retry-After, with the same key.",
    retry=True,
)
BLOCKED = Kind(
    "blocked",
    429,
    "The address is blocked for a time",
    "Keep it and send it again after Retry-After, with `?ticket=` and the member `ticket` of this problem if "
    "there is one; the owner of the quiz can end the block.",
    retry=True,
)
CHALLENGED = Kind(
    "challenged",
    429,
    "The request must be sent again with a ticket",
    "Send the same request after Retry-After, with `?ticket=` and the member `ticket` of this problem.",
    retry=True,
)
TOO_MANY_CONNECTIONS = Kind(
    "too-many-connections",
    429,
    "The address has too many connections",
    "Close idle connections, and send several requests on one.",
    retry=True,
)
INTERNAL = Kind("internal", 500, "Internal error", "Send it again, with the same key.", retry=True)
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
    "The process has not read its reference data yet",
    "Keep it and send it again after Retry-After, with the same key.",
    retry=True,
)

PAGE_UNAVAILABLE = Kind(
    "page-unavailable",
    503,
    "The page of the quiz cannot be read",
    "Request it again after Retry-After.",
    retry=True,
)

CATALOGUE: tuple[Kind, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
BY_SLUG = {kind.slug: kind for kind in CATALOGUE}


class Problem(msgspec.Struct, frozen=True):
    """The content of one rejection.

    - `detail`: shows at most SHOWN_CHARS_MAX characters of the input, and never a phone or token.
    - `pointer`: a JSON pointer into the body, as a URI fragment.
    - `extra`: members that other protocols require.
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


class Rejection(Exception):
    """Ends a request with `problem`. Handlers and the functions that they call raise it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.kind.slug)
        self.problem = problem


def rejection(
    kind: Kind,
    detail: str,
    *,
    pointer: str | None = None,
    retry_after_s: float | None = None,
    headers: Headers = (),
) -> Rejection:
    return Rejection(Problem(kind, detail, pointer, retry_after_s, headers))


def shown(text: str) -> str:
    """Return a client's input cut to SHOWN_CHARS_MAX, for a detail."""
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"


def pointer(*path: str) -> str:
    """Return a JSON pointer (RFC 6901) as a URI fragment: `pointer("answers", "q/1")` is `#/answers/q~11`."""
    steps = (quote(shown(step).replace("~", "~0").replace("/", "~1"), safe="~") for step in path)
    return "#/" + "/".join(steps)

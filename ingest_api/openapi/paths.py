"""The edge's paths, for its OpenAPI document."""

from __future__ import annotations

from typing import Any

from ingest_api.abuse.tickets import PARAMETER
from ingest_api.http import problems
from ingest_api.http.problems import Kind
from ingest_api.openapi.schema_registry import REGISTRY_JSON
from pipeline.topology.file import Edge
from sinks import providers

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

# A completion may meet every problem but these.
_OF_OTHER_PATHS = (
    problems.HANDSHAKE_REJECTED,
    problems.INVALID_SIGNATURE,
    problems.MISSING_ANSWER,
    problems.NOT_A_FORM,
    problems.NOT_FOUND,
    problems.NOT_HTTP,
    problems.PAGE_UNAVAILABLE,
    problems.UNKNOWN_SCHEMA,
)
_OF_A_PAGE = (problems.UNKNOWN_QUIZ, problems.RATE_LIMITED, problems.BLOCKED, problems.PAGE_UNAVAILABLE)
_REJECTIONS_OF_A_COMPLETION = tuple(kind for kind in problems.CATALOGUE if kind not in _OF_OTHER_PATHS)

_REJECTIONS_OF_PROGRESS = (
    problems.INVALID_JSON,
    problems.REPEATED_HEADER,
    problems.UNKNOWN_QUIZ,
    problems.BODY_TIMEOUT,
    problems.CLOSED_QUIZ,
    problems.BODY_TOO_LARGE,
    problems.NOT_JSON,
    problems.INVALID_BODY,
    problems.REPEATED_FIELD,
    problems.UNKNOWN_QUESTION,
    problems.HEADERS_TOO_LARGE,
    problems.RATE_LIMITED,
    problems.BLOCKED,
    problems.LOG_UNAVAILABLE,
    problems.OVERLOADED,
    problems.NOT_READY,
)


def paths(edge: Edge) -> dict[str, Any]:
    return {
        "/quiz/{quiz_id}/completions": {"post": _submit(edge, "submitCompletion", deprecated=False)},
        "/api/quiz/{quiz_id}/submit": {"post": _submit(edge, "submitCompletionLegacy", deprecated=True)},
        "/quiz/{quiz_id}/progress": {"post": _progress()},
        "/webhooks/{provider}": {"get": _handshake(), "post": _webhook()},
        "/schemas/types": {"get": _read("The kinds of schemas", {"type": "array"}, REGISTRY_JSON)},
        "/schemas/ids/{id}": {
            "get": _read(
                "A schema by its id",
                {"type": "object", "required": ["schema"]},
                REGISTRY_JSON,
                ("id",),
                problems.UNKNOWN_SCHEMA,
            )
        },
        "/subjects": {"get": _read("Every subject", {"type": "array"}, REGISTRY_JSON)},
        "/subjects/{subject}/versions": {
            "get": _read(
                "A subject's versions",
                {"type": "array", "items": {"type": "integer"}},
                REGISTRY_JSON,
                ("subject",),
                problems.UNKNOWN_SCHEMA,
            )
        },
        "/subjects/{subject}/versions/{version}": {
            "get": _read(
                "A version, by its number or `latest`",
                {"type": "object", "required": ["subject", "version", "id", "schema"]},
                REGISTRY_JSON,
                ("subject", "version"),
                problems.UNKNOWN_SCHEMA,
            )
        },
        "/quiz/{quiz_id}": {"get": _quiz_page(), "post": _quiz_form()},
        "/quiz/{quiz_id}/thanks": {"get": _thanks()},
        "/quizstream.js": {"get": _browser_client("The browser client, for a script tag")},
        "/quizstream.mjs": {"get": _browser_client("The browser client, as an ES module")},
        "/quizstream-progress.js": {"get": _browser_client("Reports of progress, for a script tag")},
        "/quizstream-progress.mjs": {"get": _browser_client("Reports of progress, as an ES module")},
        "/ping": {"post": _ping()},
        "/health": {"get": _health()},
        "/health/live": {"get": _read("Whether the process runs", {"type": "object"})},
        "/health/ready": {"get": _ready()},
        "/metrics": {"get": _read("Prometheus metrics", {"type": "string"}, b"text/plain")},
        "/openapi.json": {"get": _read("This description", {"type": "object"})},
        "/problems": {"get": _read("Every type of problem", {"type": "array"})},
        "/problems/{slug}": {
            "get": _read(
                "A type of problem", {"type": "object"}, names=("slug",), rejected=problems.NOT_FOUND
            )
        },
    }


def _submit(edge: Edge, operation: str, *, deprecated: bool) -> dict[str, Any]:
    return {
        "operationId": operation,
        "deprecated": deprecated,
        "summary": "Submit a completion",
        "description": "202 only after it is durable. On a 503 keep it, and send it again with the same key.",
        "security": [{}, {"service": []}],
        "parameters": [
            _parameter("quiz_id"),
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "maxLength": edge.key_chars_max},
            },
            {
                "name": PARAMETER,
                "in": "query",
                "schema": {"type": "string"},
                "description": "Of a problem `challenged` or `blocked`, after its Retry-After.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Submission"}}},
        },
        "responses": {
            "202": {
                "description": "It is durable",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
            },
            **_rejections(*_REJECTIONS_OF_A_COMPLETION),
        },
    }


def _progress() -> dict[str, Any]:
    return {
        "operationId": "reportProgress",
        "summary": "Report how far a visit of the quiz has come",
        "description": (
            "202 only after it is durable. Reports may come in any order and more than once. One without an"
            " answer need not be sent again: the next one of the visit says how far it has come."
        ),
        "parameters": [_parameter("quiz_id")],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Progress"}}},
        },
        "responses": {
            "202": {
                "description": "It is durable",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["accepted"],
                            "properties": {"accepted": {"const": True}},
                        }
                    }
                },
            },
            **_rejections(*_REJECTIONS_OF_PROGRESS),
        },
    }


def _webhook() -> dict[str, Any]:
    return {
        "summary": "Receive a provider's webhook",
        "parameters": [
            _provider(),
            {
                "name": "X-Hub-Signature-256",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "of meta-cloud: sha256= and the HMAC of the raw body, by the app secret",
            },
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
        "responses": {
            "200": {
                "description": "It is durable",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_rejections(
                problems.INVALID_SIGNATURE,
                problems.NOT_FOUND,
                problems.BODY_TOO_LARGE,
                problems.BODY_TIMEOUT,
                problems.LOG_UNAVAILABLE,
            ),
        },
    }


def _handshake() -> dict[str, Any]:
    return {
        "summary": "The provider's handshake",
        "parameters": [
            _provider(),
            *(
                {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}
                for name in ("hub.mode", "hub.verify_token", "hub.challenge")
            ),
        ],
        "responses": {
            "200": {
                "description": "The challenge",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **_rejections(problems.HANDSHAKE_REJECTED, problems.NOT_FOUND),
        },
    }


def _quiz_page() -> dict[str, Any]:
    caching = {
        name: {"schema": {"type": "string"}} for name in ("ETag", "Cache-Control", "Vary", "Retry-After")
    }
    return {
        "operationId": "quizPage",
        "summary": "The page of a quiz, for a person or for a program",
        "description": "HTML, unless Accept prefers JSON or the id ends with .json. Without right answers.",
        "parameters": [
            _parameter("quiz_id"),
            {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {
                "description": "The page",
                "headers": caching,
                "content": {
                    "text/html": {"schema": {"type": "string"}},
                    "application/json": {"schema": {"$ref": "#/components/schemas/QuizPage"}},
                },
            },
            "304": {"description": "The client has it"},
            **_rejections(*_OF_A_PAGE, for_people=True),
        },
    }


def _thanks() -> dict[str, Any]:
    return {
        "summary": "The page that follows the form",
        "parameters": [_parameter("quiz_id")],
        "responses": {
            "200": {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}},
            "304": {"description": "The client has it"},
            **_rejections(*_OF_A_PAGE, for_people=True),
        },
    }


def _quiz_form() -> dict[str, Any]:
    form = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "phone": {"type": "string"},
            "email": {"type": "string"},
            "consent": {"type": "string", "description": "Present: granted."},
            "consent_text": {"type": "string"},
            "number": {"type": "string", "description": "A question whose answer is stored as a number."},
            "several": {"type": "string", "description": "A question whose answer is stored as a list."},
            "required": {"type": "string", "description": "A question without which it is rejected."},
        },
        "additionalProperties": {"type": "string"},
        "description": "An answer is a field `answer:<question id>`; several choices are several fields. "
        "`number`, `several` and `required` may be given for several questions.",
    }
    return {
        "operationId": "submitForm",
        "summary": "Submit a completion as the form of a page without a script",
        "parameters": [_parameter("quiz_id")],
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        },
        "responses": {
            "303": {"description": "It is durable; the page of thanks follows"},
            **_rejections(
                *_REJECTIONS_OF_A_COMPLETION, problems.MISSING_ANSWER, problems.NOT_A_FORM, for_people=True
            ),
        },
    }


def _browser_client(summary: str) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "summary": summary,
        "description": "Sends completions, and keeps them in the browser until they are accepted.",
        "parameters": [{"name": "If-None-Match", "in": "header", **text}],
        "responses": {
            "200": {
                "description": "The script",
                "headers": {"ETag": text, "Cache-Control": text},
                "content": {"text/javascript": text},
            },
            "304": {"description": "The client has it"},
        },
    }


def _ping() -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["next_ping_ms"],
        "properties": {"next_ping_ms": {"type": "integer", "minimum": 0}},
    }
    answer = {"description": "When to ping again", "content": {"application/json": {"schema": schema}}}
    return {
        "operationId": "ping",
        "summary": "A page is open; the answer spreads the pings of all pages over time",
        "description": "The body is not read. Without an answer, wait twice as long as the last time.",
        "responses": {"200": answer, **_rejections()},
    }


def _health() -> dict[str, Any]:
    """Members may be added: a reader ignores those that it does not use."""
    number = {"type": ["number", "null"]}
    counted = {"type": "integer", "minimum": 0}
    breaker = {"enum": ["closed", "half-open", "open"]}
    open_and_max = {"open": counted, "max": counted}
    schema = {
        "type": "object",
        "required": ["status", "reasons", "uptime_s", "memory", "connections", "kafka", "valkey", "caches"],
        "properties": {
            "status": {"enum": ["starting", "ready", "not-ready", "stopping"]},
            "reasons": {"type": "array", "items": {"type": "string"}},
            "edge": {"type": ["integer", "null"]},
            "uptime_s": {"type": "number"},
            "memory": {"type": "object", "properties": {"resident_bytes": counted}},
            "connections": {"type": ["object", "null"], "properties": open_and_max},
            "requests": {"type": "object", "properties": {"waiting_for_kafka": counted, "max": counted}},
            "kafka": {
                "type": "object",
                "properties": {
                    "breaker": breaker,
                    "reached_s_ago": number,
                },
            },
            "valkey": {
                "type": "object",
                "properties": {"reached": {"type": "boolean"}, "edges": counted},
            },
            "postgresql": {"type": "object", "properties": {"breaker": breaker}},
            "reference_data": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "read": {"type": "boolean"},
                        "lag_records": {"type": ["integer", "null"]},
                        "changed_s_ago": number,
                    },
                },
            },
            "caches": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {"hits": counted, "misses": counted, "hit_ratio": number},
                },
            },
        },
    }
    content = {"application/json": {"schema": schema}}
    return {
        "summary": "The state of this edge process",
        "responses": {
            "200": {"description": "It accepts completions", "content": content},
            "503": {
                "description": "It starts, stops or cannot accept any; with the reasons",
                "content": content,
            },
        },
    }


def _ready() -> dict[str, Any]:
    content = {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["ready", "reasons"],
                "properties": {
                    "ready": {"type": "boolean"},
                    "reasons": {"type": "array", "items": {"type": "string"}},
                },
            }
        }
    }
    return {
        "summary": "Whether a completion can be accepted now",
        "responses": {
            "200": {"description": "It can", "content": content},
            "503": {"description": "It cannot, and why", "content": content},
        },
    }


def _read(
    summary: str,
    schema: dict[str, Any],
    media_type: bytes = b"application/json",
    names: tuple[str, ...] = (),
    rejected: Kind | None = None,
) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": [_parameter(name) for name in names],
        "responses": {
            "200": {"description": summary, "content": {media_type.decode(): {"schema": schema}}},
            **(_rejections(rejected) if rejected is not None else {}),
        },
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _provider() -> dict[str, Any]:
    known = [*providers.names(), *providers.FORMER_NAMES]
    return {"name": "provider", "in": "path", "required": True, "schema": {"type": "string", "enum": known}}


def _rejections(*kinds: Kind, for_people: bool = False) -> dict[str, Any]:
    """Return one response per status; its description has the titles of all its problems.

    `for_people`: who does not prefer JSON gets the problem as a page.
    """
    content = _PROBLEM | ({"text/html": {"schema": {"type": "string"}}} if for_people else {})
    titles: dict[int, list[str]] = {}
    for kind in dict.fromkeys((*kinds, problems.METHOD_NOT_ALLOWED, problems.INTERNAL)):
        titles.setdefault(kind.status, []).append(kind.title)
    return {
        str(status): {"description": "; ".join(of_status), "content": content}
        for status, of_status in titles.items()
    }

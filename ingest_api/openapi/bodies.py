"""JSON Schemas of the edge's request and response bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from ingest_api.completions.parse import CONSENT_CHARS_MAX
from ingest_api.completions.receive import EMAIL_CHARS_MAX, NAME_CHARS_MAX
from ingest_api.http.problems import Kind
from ingest_api.progress.parse import POSITION_MAX
from ingest_api.quiz_pages.content import Content
from pipeline.topology.file import Edge
from schemas.phones import PHONE_CHARS_MAX
from schemas.records import ProgressKind

_INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}

_SCALARS = ({"type": "integer", **_INT64}, {"type": "number"}, {"type": "boolean"})

ACCEPTED: dict[str, Any] = {
    "type": "object",
    "required": ["completion_id", "day", "accepted_at"],
    "properties": {
        "completion_id": {
            "type": "string",
            "format": "uuid",
            "description": "The same for every request with the same quiz, key and contact.",
        },
        "day": {"type": "string", "format": "date", "description": "UTC day under which it is stored."},
        "accepted_at": {"type": "string", "format": "date-time"},
        "repeated": {
            "type": "boolean",
            "description": "True if this edge process knows that the same completion came before.",
        },
        "clock_ahead_ms": {
            "type": "integer",
            "description": "The client's clock is so far ahead that the time of arrival counts instead.",
        },
    },
}


def quiz_page() -> dict[str, Any]:
    """Return the schema of a page in JSON, from its type."""
    (schema,), components = msgspec.json.schema_components([Content], ref_template="{name}")
    inlined: dict[str, Any] = _inlined(schema, components)
    return inlined


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    """The types of a page are not recursive, so that each can stand where it is used."""
    if isinstance(schema, list):
        return [_inlined(part, components) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"]], components)
    return {name: _inlined(part, components) for name, part in schema.items() if name != "discriminator"}


def submission(edge: Edge) -> dict[str, Any]:
    text = {"type": "string", "maxLength": edge.answer_chars_max}
    return {
        "type": "object",
        "required": ["answers"],
        "additionalProperties": False,
        "properties": {
            "answers": {
                "type": "object",
                "maxProperties": edge.answers_max,
                "description": "By question id. A null is an unanswered question.",
                "additionalProperties": {
                    "anyOf": [
                        text,
                        *_SCALARS,
                        {"type": "array", "items": {"anyOf": [text, *_SCALARS]}},
                        {"type": "null"},
                    ]
                },
                "examples": [{"q1": "4", "q2": ["a", "c"], "q3": None}],
            },
            "completion_id": {
                "type": ["string", "null"],
                "maxLength": edge.key_chars_max,
                "description": "Idempotency key, like the header. A UUIDv7 also carries the submission time.",
            },
            "submitted_at": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": (
                    "When the quiz was completed. At most"
                    f" {edge.submitted_past_max_h} h ago"
                    f" ({edge.submitted_past_max_h_service} h with a service token),"
                    f" {edge.submitted_future_max_s} s ahead: beyond that the time of arrival counts,"
                    " and with a service token it is an error."
                    " Send it with each retry: it determines the day."
                ),
            },
            "contact": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {
                    "phone": {
                        "type": ["string", "null"],
                        "maxLength": PHONE_CHARS_MAX,
                        "description": "E.164, or a Brazilian number in any common notation.",
                        "examples": ["+5547989211984"],
                    },
                    "name": {"type": ["string", "null"], "maxLength": NAME_CHARS_MAX},
                    "email": {"type": ["string", "null"], "maxLength": EMAIL_CHARS_MAX},
                    "consent": {
                        "type": ["object", "null"],
                        "additionalProperties": False,
                        "required": ["granted", "text"],
                        "properties": {
                            "granted": {
                                "type": "boolean",
                                "description": "False: no campaign writes to the person for this completion.",
                            },
                            "text": {
                                "type": "string",
                                "minLength": 1,
                                "maxLength": CONSENT_CHARS_MAX,
                                "description": "Id or version of the text that the person was shown.",
                                "examples": ["whatsapp-pt-BR v3"],
                            },
                        },
                    },
                },
            },
            "score": {
                "type": ["number", "null"],
                "description": "Used if the quiz has no right answers; otherwise the edge computes it.",
            },
        },
    }


def progress(edge: Edge) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["visit_id", "kind"],
        "additionalProperties": False,
        "properties": {
            "visit_id": {
                "type": "string",
                "format": "uuid",
                "description": (
                    "Made at random by the page for one visit. A UUIDv7 also carries the day under which the"
                    " visit is stored; without one that is the day of arrival."
                ),
            },
            "kind": {"enum": list(get_args(ProgressKind))},
            "question_id": {
                "type": ["string", "null"],
                "description": "The question that the person has reached.",
            },
            "position": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": POSITION_MAX,
                "description": "Instead of question_id: its position in the quiz, from 1.",
            },
            "at": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": (
                    "By the client's clock: orders the reports of a visit. More than"
                    f" {edge.submitted_past_max_h} h ago or {edge.submitted_future_max_s} s ahead: the time"
                    " of arrival counts."
                ),
            },
        },
    }


def problem(catalogue: Sequence[Kind]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [kind.type for kind in catalogue]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "pointer": {"type": "string", "description": "JSON pointer into the body, as a URI fragment."},
            "ticket": {"type": "string", "description": "Of a 429: what the next request names."},
        },
    }

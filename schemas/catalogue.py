"""The schemas in this folder: the current one of each event, and every version that ever landed.

A schema's id is a function of the schema (SHA-256 of Avro's parsing canonical form), so that every process,
and a registry filled from this folder, computes the same id without a central service.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fastavro.schema import parse_schema, to_parsing_canonical_form

from schemas import records

FOLDER = Path(__file__).resolve().parent
LANDED = FOLDER / "landed"
LANDED_ORDER = LANDED / "order.json"  # {event name: [ids, oldest first]}

EVENT_TYPES: Mapping[str, type] = {
    "campaign": records.Campaign,
    "completion": records.Completion,
    "dead_letter": records.DeadLetter,
    "delivery_event": records.DeliveryEvent,
    "duplicate": records.Duplicate,
    "match": records.Match,
    "outcome": records.Outcome,
    "progress": records.Progress,
    "provider_webhook": records.ProviderWebhook,
    "quiz": records.Quiz,
    "tenant": records.Tenant,
    "token": records.Token,
    "webhook_key": records.WebhookKey,
}


@dataclass(frozen=True)
class Schema:
    """One version of one event's schema. `text` is JSON for a registry; `parsed` is fastavro's form."""

    event: str
    schema_id: int
    text: str
    parsed: Any = field(repr=False, compare=False)


def schema_id_of(definition: Any) -> int:
    """First 4 bytes of the SHA-256 of the parsing canonical form, without the sign bit."""
    canonical = to_parsing_canonical_form(parse_schema(definition))
    return int.from_bytes(hashlib.sha256(canonical.encode()).digest()[:4], "big") & 0x7FFF_FFFF


@cache
def current(event: str) -> Schema:
    """The schema that `event` is written with. Raises KeyError for an unknown event."""
    if event not in EVENT_TYPES:
        raise KeyError(f"unknown event {event!r}: use one of {', '.join(EVENT_TYPES)}")
    return read_schema(event, (FOLDER / f"{event}.avsc").read_text())


@cache
def landed(event: str) -> tuple[Schema, ...]:
    """Every version of `event` that ever landed, oldest first; a topic may still hold records of each."""
    return tuple(
        read_schema(event, (LANDED / event / f"{schema_id}.avsc").read_text())
        for schema_id in landed_order().get(event, ())
    )


def landed_order() -> dict[str, list[int]]:
    """Ids of the landed versions of each event, oldest first."""
    if not LANDED_ORDER.exists():
        return {}
    order: dict[str, list[int]] = json.loads(LANDED_ORDER.read_text())
    return order


@cache
def by_id() -> Mapping[int, Schema]:
    """Every schema of every event, by id, as a registry serves them. ValueError if two share an id."""
    schemas: dict[int, Schema] = {}
    for event in EVENT_TYPES:
        for schema in (*landed(event), current(event)):
            other = schemas.setdefault(schema.schema_id, schema)
            if other.event != event:
                raise ValueError(f"{event} and {other.event} have the same schema id {schema.schema_id}")
    return schemas


def versions(event: str) -> Sequence[Schema]:
    """Landed versions, then the current one unless it landed: a registry's version n is at n - 1."""
    known = landed(event)
    now = current(event)
    return known if any(schema.schema_id == now.schema_id for schema in known) else (*known, now)


def read_schema(event: str, text: str) -> Schema:
    definition = json.loads(text)
    return Schema(
        event=event,
        schema_id=schema_id_of(definition),
        text=json.dumps(definition, ensure_ascii=False),
        # Logical types are for other readers: here times stay integers, and no datetimes are created.
        parsed=parse_schema(_without_logical_types(definition)),
    )


def _without_logical_types(definition: Any) -> Any:
    if isinstance(definition, dict):
        return {
            key: _without_logical_types(value) for key, value in definition.items() if key != "logicalType"
        }
    if isinstance(definition, list):
        return [_without_logical_types(item) for item in definition]
    return definition

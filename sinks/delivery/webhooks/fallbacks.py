"""Which messages that a webhook reports as rejected may be tried once more, with their fallbacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline.campaigns.channels import message_on
from pipeline.campaigns.message import Sizes, has_fallbacks
from schemas.records import Campaign, Personal
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.providers import provider_named

QUERIES = load_queries(Path(__file__).with_name("fallbacks.sql"))

Key = tuple[date, str, str]
"""Of a delivery: campaign month, campaign, contact."""


class _Typed(NamedTuple):
    """A delivery that was sent with what its contact typed, and its campaign's message."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    definition: Any
    channel: str
    variables: dict[str, Any]
    phone: str | None
    name: str | None
    email: str | None


def left_of(connection: Connection, rejected: Mapping[Key, str]) -> Collection[Key]:
    """Of these deliveries, whose rows are locked, those that have fallbacks to try. To each its provider."""
    keys = {
        "months": [month for month, _, _ in rejected],
        "campaigns": [campaign for _, campaign, _ in rejected],
        "contacts": [contact for _, _, contact in rejected],
    }
    found = set()
    for row in fetch(connection, QUERIES["messages_with_values"], _Typed, keys):
        key = (row.campaign_month, row.campaign_id, row.contact_id)
        if _reads_otherwise(row, provider_named(rejected[key]).limits):
            found.add(key)
    return found


def _reads_otherwise(row: _Typed, sizes: Sizes) -> bool:
    try:
        message = message_on(msgspec.convert(row.definition, Campaign), row.channel)
    except msgspec.ValidationError:
        return False  # of another version of this program: the sender could not read it either
    if message is None:
        return False
    values = {name: str(value) for name, value in row.variables.items() if value is not None}
    return has_fallbacks(message, values, Personal(phone=row.phone, name=row.name, email=row.email), sizes)

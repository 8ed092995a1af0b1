"""Where a delivery goes instead of ending: to another provider, or to its campaign's next channel.

Only a delivery whose last call is certain to have sent nothing ends so, or one that is not called at all. One
whose call is ambiguous does not end: it goes nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from sinks.actions import Elsewhere
from sinks.postgres.named_rows import named
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("elsewhere.sql"))


class Found(NamedTuple):
    """`refused`: the provider that cannot serve the recipient, whose others of the channel still may."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    channel: str
    refused: str | None

    @property
    def key(self) -> tuple[date, str, str]:
        return self.campaign_month, self.campaign_id, self.contact_id

    def reason(self, ended: str) -> str:
        """Of the delivery, which waits for its next attempt."""
        return f"{ended}; next by {'another provider' if self.refused else self.channel}"


async def find(
    connection: AsyncConnection[tuple[Any, ...]], wanted: Sequence[tuple[date, str, str, Elsewhere]]
) -> dict[tuple[date, str, str], Found]:
    """Where deliveries that are about to end may go instead; those that are not among them end."""
    ending = [one for one in wanted if one[3] != "nowhere"]
    if not ending:
        return {}
    async with connection.cursor(row_factory=named(Found)) as cursor:
        await cursor.execute(QUERIES["find_elsewhere"], asked(ending))
        return {found.key: found for found in await cursor.fetchall()}


def asked(wanted: Sequence[tuple[date, str, str, Elsewhere]]) -> Mapping[str, Any]:
    """The parameters of `find_elsewhere`."""
    return {
        "months": [month for month, _, _, _ in wanted],
        "campaigns": [campaign for _, campaign, _, _ in wanted],
        "contacts": [contact for _, _, contact, _ in wanted],
        "scopes": [scope for _, _, _, scope in wanted],
    }


def columns(found: Sequence[Found | None]) -> Mapping[str, Any]:
    """What the statements that write a row need of its next route, for each row; None: it stays as it is."""
    return {
        "channels": [None if one is None else one.channel for one in found],
        "refused": [None if one is None else one.refused for one in found],
    }

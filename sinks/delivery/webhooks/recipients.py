"""Aliases from statuses: the provider's ids of the recipient of a message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sinks.delivery.people.aliases import QUERIES, Person, people_of, unite
from sinks.delivery.webhooks.inbound import apply_resolvable
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.webhook import Status

SOURCE = "status"


class _Recipient(NamedTuple):
    ordinal: int
    tenant_id: str
    contact_id: str


def learn(connection: Connection, seen: Sequence[tuple[str, Status]], contact_key: bytes) -> None:
    """Teaches the aliases of the statuses whose message is known; applies what waited for them."""
    wanted: dict[tuple[str, str, str | None], tuple[str, ...]] = {}
    for provider, status in seen:
        if status.recipients:
            wanted[provider, status.message_id, status.attempt_id] = status.recipients
    if not wanted:
        return
    messages = list(wanted)
    found = fetch(
        connection,
        QUERIES["contacts_of_messages"],
        _Recipient,
        {
            "providers": [provider for provider, _, _ in messages],
            "message_ids": [message_id for _, message_id, _ in messages],
            "attempt_ids": [attempt_id for _, _, attempt_id in messages],
        },
    )
    ids: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in found:
        ids[row.tenant_id, row.contact_id].update(dict.fromkeys(wanted[messages[row.ordinal - 1]]))
    teach(connection, ids, contact_key, SOURCE)


def teach(
    connection: Connection, ids: dict[tuple[str, str], dict[str, None]], contact_key: bytes, source: str
) -> None:
    """`ids` by (tenant, contact). Ids that lead to their contact by themselves, as most do, cost no query."""
    learned: list[tuple[str, str]] = []
    for (tenant_id, contact_id), told in sorted(ids.items()):
        people = people_of(contact_key, [tenant_id], list(told))
        if all(one.person == contact_id for one in people):
            continue
        unite(connection, tenant_id, (*people, Person(tenant_id, contact_id, True)), source)
        learned += [(one.tenant_id, one.person) for one in people]
    apply_resolvable(connection, learned)

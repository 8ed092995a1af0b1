"""Aliases from statuses: the provider's ids of the recipient of a message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sinks.delivery.people.aliases import QUERIES, Person, people_of, unite
from sinks.delivery.webhooks.inbound import apply_resolvable
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.webhook import Status

SOURCE = "status"

Told = tuple[str, str, str, str | None]
"""What a status names: provider, number (`Webhook.of_number`), message, attempt."""
Contact = tuple[str, str]
"""Tenant, contact."""


class Seen(NamedTuple):
    """A status with its provider, and `Webhook.of_number`."""

    provider: str
    of_number: str
    status: Status


class _Recipient(NamedTuple):
    ordinal: int
    tenant_id: str
    contact_id: str


def learn(
    connection: Connection,
    seen: Sequence[Seen],
    known: Mapping[Told, set[Contact]],
    contact_key: bytes,
) -> None:
    """Teaches the aliases of the statuses whose message is known; applies what waited for them.

    `known` are contacts that the caller has found already: those of statuses for the first time, nearly all.
    """
    wanted: dict[Told, tuple[str, ...]] = {}
    for provider, of_number, status in seen:
        if status.recipients:
            wanted[provider, of_number, status.message_id, status.attempt_id] = status.recipients
    ids: dict[Contact, dict[str, None]] = defaultdict(dict)
    for told in wanted.keys() & known.keys():
        for contact in known[told]:
            ids[contact].update(dict.fromkeys(wanted[told]))
    if messages := [told for told in wanted if told not in known]:
        about = {
            "providers": [provider for provider, _, _, _ in messages],
            "of_numbers": [of_number for _, of_number, _, _ in messages],
            "message_ids": [message_id for _, _, message_id, _ in messages],
            "attempt_ids": [attempt_id for _, _, _, attempt_id in messages],
        }
        for row in fetch(connection, QUERIES["contacts_of_messages"], _Recipient, about):
            ids[row.tenant_id, row.contact_id].update(dict.fromkeys(wanted[messages[row.ordinal - 1]]))
    teach(connection, ids, contact_key, SOURCE)


def teach(
    connection: Connection, ids: Mapping[Contact, dict[str, None]], contact_key: bytes, source: str
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

"""What people do at a provider: stored once each, led to a contact, and an opt-out in force at once.

An event leads to the contacts of its ids, and to the recipient of the message that it replies to. What leads
to no contact is stored with the ids that would; it is applied when one of them becomes known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from schemas.ids import email_id, inbound_id
from sinks.delivery.people.aliases import Person, people_of, resolve, unite
from sinks.delivery.people.words import Consent, Words
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.webhook import Inbound

QUERIES = load_queries(Path(__file__).with_name("inbound.sql"))
APPLY_BATCH_MAX = 500
SWEEP_BATCH_MAX = 500
TEXT_CHARS_MAX = 4_096


class Decision(NamedTuple):
    """A contact opted out or in. Of several the latest counts."""

    tenant_id: str
    contact_id: str
    reason: str
    at_ms: int
    lifted: bool


class Report(NamedTuple):
    """`new`: events that were not stored before; `decided`: contact ids whose consent changed."""

    new: int
    decided: int


class Place(NamedTuple):
    """Of an event among those that are unresolved, in the order of their arrival."""

    received_at: datetime
    event_id: str


BEGINNING = Place(datetime.min.replace(tzinfo=UTC), str(UUID(int=0)))


class _Resolvable(NamedTuple):
    event_id: str
    consent: Consent | None
    at_ms: int
    reason: str
    tenant_id: str
    contact_id: str


def store(connection: Connection, events: Iterable[tuple[str, Inbound, bool]], contact_key: bytes) -> Report:
    """`events` come with their provider, and whether they are of their number alone (`Webhook.of_number`).

    Commits nothing; the same events again change nothing.
    """
    numbers = _Numbers(connection)
    new = 0
    decisions: list[Decision] = []
    learned: list[tuple[str, str]] = []
    for provider, event, of_number in events:
        consent = event.choice or numbers.words(provider, event.number_id, of_number).consent_of(event.texts)
        if event.past and consent not in ("stop", "resume"):
            metrics.INBOUND.labels(event.kind, consent or "none").inc()
            continue
        tenants = numbers.tenants(provider, event.number_id, of_number)
        people = people_of(contact_key, tenants, event.ids)
        replied = _recipients(connection, provider, event, of_number)
        if event.of_address:
            people += _addresses(connection, contact_key, replied)
        senders = numbers.senders(provider, event.number_id, of_number)
        takers = tenants if consent == "stop" or len(tenants) == 1 else senders if consent == "resume" else ()
        contacts = _contacts(connection, event, people, replied, takers)
        learned += [(one.tenant_id, one.person) for one in people]
        if consent == "resume":
            # It ends no opt-out of a tenant that sends from other numbers only.
            may_resume = senders | {one.tenant_id for one in replied}
            people = [one for one in people if one.tenant_id in may_resume]
            decided_for = [whose for whose in contacts if whose[0] in may_resume]
        else:
            decided_for = contacts
        new += _insert(connection, provider, event, consent, people, contacts)
        if consent in ("stop", "resume"):
            reason = event.reason or f"{'opted out' if consent == 'stop' else 'opted in'} by {event.kind}"
            decisions += [Decision(*whose, reason, event.at_ms, consent == "resume") for whose in decided_for]
    decided = decide(connection, decisions)
    return Report(new, decided + apply_resolvable(connection, learned))


def decide(connection: Connection, decisions: Sequence[Decision]) -> int:
    """Returns for how many contact ids the latest decision is another now. Commits nothing."""
    if not decisions:
        return 0
    columns = {
        "tenants": [one.tenant_id for one in decisions],
        "contacts": [one.contact_id for one in decisions],
        "reasons": [one.reason for one in decisions],
        "at_ms": [one.at_ms for one in decisions],
        "lifted": [one.lifted for one in decisions],
    }
    return max(0, connection.execute(QUERIES["decide"], columns).rowcount)


def apply_resolvable(connection: Connection, people: Iterable[tuple[str, str]]) -> int:
    """Applies the stored events that led to nobody and lead to a contact by now, through one of `people`."""
    wanted = sorted(set(people))
    if not wanted:
        return 0
    given = {
        "tenants": sorted({tenant for tenant, _ in wanted}),
        "people": sorted({person for _, person in wanted}),
        "limit": APPLY_BATCH_MAX,
    }
    decided = 0
    while found := fetch(connection, QUERIES["resolvable_events"], _Resolvable, given):
        decided += _apply(connection, found)
        if len(found) < APPLY_BATCH_MAX:
            break
    return decided


def sweep(connection: Connection, after: Place) -> tuple[Place, int]:
    """Applies what a learned alias did not: it was learned by a sender, or while the event was stored.

    Looks at the next unresolved events after a place, at most `SWEEP_BATCH_MAX`; returns where to go on, and
    for how many contact ids the consent changed. One transaction of its own; any number of processes may.
    """
    with connection.transaction():
        given = {"at": after.received_at, "id": after.event_id, "limit": SWEEP_BATCH_MAX}
        page = fetch(connection, QUERIES["unresolved_events"], Place, given)
        if not page:
            return BEGINNING, 0
        events = [one.event_id for one in page]
        found = fetch(connection, QUERIES["resolvable_of_events"], _Resolvable, {"event_ids": events})
        decided = _apply(connection, found)
        connection.execute(QUERIES["resolve_events"], {"event_ids": events})
    return (page[-1] if len(page) == SWEEP_BATCH_MAX else BEGINNING), decided


def _apply(connection: Connection, found: Sequence[_Resolvable]) -> int:
    """Each for its tenant: the ids of the other tenants stay until they lead to somebody too."""
    if not found:
        return 0
    decided = decide(
        connection,
        [
            Decision(row.tenant_id, row.contact_id, row.reason, row.at_ms, row.consent == "resume")
            for row in found
            if row.consent in ("stop", "resume")
        ],
    )
    places = sorted({(row.event_id, row.tenant_id, row.contact_id) for row in found})
    given = {
        "event_ids": [event for event, _, _ in places],
        "tenants": [tenant for _, tenant, _ in places],
        "contacts": [contact for _, _, contact in places],
    }
    for name in ("place_people", "forget_ids", "resolve_events"):
        connection.execute(QUERIES[name], given)
    return decided


class _Numbers:
    """Whose a number is and which words count there, looked up once a batch.

    A number that is not known may be any tenant's, except where its webhook proves one number (`of_number`).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sends: dict[tuple[str, str, bool], dict[str, bool]] = {}
        self._words: dict[tuple[str, ...], Words] = {}

    def tenants(self, provider: str, number_id: str, of_number: bool) -> list[str]:
        return list(self._of(provider, number_id, of_number))

    def senders(self, provider: str, number_id: str, of_number: bool) -> set[str]:
        """Those of the tenants that send from the number."""
        sends = self._of(provider, number_id, of_number)
        return {tenant_id for tenant_id, does in sends.items() if does}

    def _of(self, provider: str, number_id: str, of_number: bool) -> Mapping[str, bool]:
        number = (provider, number_id, of_number)
        if number not in self._sends:
            rows = self._connection.execute(QUERIES["tenants_of_number"], list(number))
            self._sends[number] = {str(tenant_id): bool(sends) for tenant_id, sends in rows}
        return self._sends[number]

    def words(self, provider: str, number_id: str, of_number: bool) -> Words:
        tenants = tuple(self.tenants(provider, number_id, of_number))
        if tenants not in self._words:
            rows = self._connection.execute(QUERIES["words_of_tenants"], [list(tenants)])
            self._words[tenants] = Words((str(phrase), str(consent)) for phrase, consent in rows)
        return self._words[tenants]


def _recipients(connection: Connection, provider: str, event: Inbound, of_number: bool) -> list[Person]:
    """To whom the message was sent that the event replies to."""
    if event.reply_to is None:
        return []
    told = [provider, event.reply_to, event.number_id if of_number else ""]
    rows = connection.execute(QUERIES["recipient_of_message"], told)
    return [Person(str(tenant_id), str(contact), True) for tenant_id, contact in rows]


def _addresses(connection: Connection, contact_key: bytes, recipients: Sequence[Person]) -> list[Person]:
    """The e-mail addresses of these contacts: who else states one is the same person from now on."""
    given = {
        "tenants": [one.tenant_id for one in recipients],
        "contacts": [one.person for one in recipients],
    }
    rows = connection.execute(QUERIES["emails_of_contacts"], given)
    return [
        Person(str(tenant_id), email_id(contact_key, str(tenant_id), str(email)), False)
        for tenant_id, email in rows
    ]


def _contacts(
    connection: Connection,
    event: Inbound,
    people: Sequence[Person],
    replied: Sequence[Person],
    takers: Collection[str],
) -> list[tuple[str, str]]:
    """(tenant, contact) of everybody whom the number may write to and whose event this is; teaches aliases.

    `takers` take it even of a phone that they have not met yet, since they may meet it later: the tenant of a
    number of one; at a number of several each of them an opt-out, and those that send from it an opt-in.
    Other tenants take it if they know the person.
    """
    by_tenant: dict[str, list[Person]] = {}
    for one in replied:
        by_tenant.setdefault(one.tenant_id, []).append(one)
    known = resolve(connection, ((one.tenant_id, one.person) for one in people))
    for tenant_id, _ in known:
        by_tenant.setdefault(tenant_id, [])
    for one in people:
        if one.is_phone and one.tenant_id in takers:
            by_tenant.setdefault(one.tenant_id, [])
    contacts = []
    for tenant_id, recipients in sorted(by_tenant.items()):
        contact = unite(connection, tenant_id, (*people, *recipients), event.kind)
        if contact is not None:
            contacts.append((tenant_id, contact))
    return contacts


def _insert(
    connection: Connection,
    provider: str,
    event: Inbound,
    consent: Consent | None,
    people: Sequence[Person],
    contacts: Sequence[tuple[str, str]],
) -> int:
    event_id = _event_id(provider, event)
    row = {
        "event_id": event_id,
        "provider": provider,
        "number_id": event.number_id,
        "kind": event.kind,
        "consent": consent,
        "at_ms": event.at_ms,
        "reply_to": event.reply_to,
        "text": "\n".join(event.texts)[:TEXT_CHARS_MAX] or None,
        "reason": event.reason or event.kind,
        "resolved": bool(contacts),
    }
    if connection.execute(QUERIES["insert_event"], row).rowcount != 1:
        return 0
    metrics.INBOUND.labels(event.kind, consent or "none").inc()
    _insert_people(connection, event_id, contacts or [(one.tenant_id, one.person) for one in people])
    return 1


def _insert_people(connection: Connection, event_id: str, people: Sequence[tuple[str, str]]) -> None:
    given = {
        "event_id": event_id,
        "tenants": [tenant for tenant, _ in people],
        "people": [person for _, person in people],
    }
    connection.execute(QUERIES["insert_people"], given)


def _event_id(provider: str, event: Inbound) -> str:
    if event.event_id:
        return inbound_id(provider, "id", event.event_id, event.number_id)
    content = (event.number_id, event.kind, str(event.at_ms), event.choice or "", *event.ids, *event.texts)
    return inbound_id(provider, "content", *content)

"""Provider webhooks into the ledger: each status once, merged into its delivery, whichever comes first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from schemas.codec import Codec, Undecodable, codec
from schemas.records import ProviderWebhook
from sinks import providers
from sinks.actions import FailMessage
from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.delivery.routing import elsewhere
from sinks.delivery.rows import NEXT_WITH_FALLBACKS
from sinks.delivery.state import DeliveryState
from sinks.delivery.webhooks import consequences, failures, fallbacks, inbound, recipients
from sinks.delivery.webhooks.failures import LIMITS, Again, Limits
from sinks.delivery.webhooks.notices import Notices
from sinks.delivery.webhooks.recipients import Seen
from sinks.delivery.webhooks.status_merge import PROOFS, RANKS, Becomes, Waits, merge
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue_all
from sinks.postgres.partitions import Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport
from sinks.webhook import NotAWebhook, Webhook

QUERIES = load_queries(Path(__file__).with_name("statuses.sql"))
WAITING_BATCH_MAX = 500
KEPT_WAITING = timedelta(days=8)  # the provider repeats a webhook for up to seven

_IN_CALL = (DeliveryState.CALLING, DeliveryState.AMBIGUOUS)

Key = tuple[date, str, str]
"""Of a delivery: campaign month, campaign, contact."""


class WebhookDecoder:
    """The topic's record and the provider's body within it."""

    def __init__(self, inner: Codec[ProviderWebhook] | None = None) -> None:
        self._inner = inner or codec("provider_webhook")

    def decode(self, value: bytes | None) -> Webhook:
        """Raises `Undecodable` for either."""
        event = self._inner.decode(value)
        try:
            source = providers.webhooks_of(event.provider)
            return source.parse(event.personal.body, event.received_at, event.account)
        except (NotAWebhook, providers.UnknownProvider) as error:
            raise Undecodable(str(error)) from None


class ProviderStatuses:
    """Stores statuses, merges those whose delivery is known, and takes opt-outs."""

    name = "provider_statuses"

    def __init__(self, contact_key: bytes, limits: Limits = LIMITS) -> None:
        self._contact_key = contact_key
        self._limits = limits
        self._notices = Notices(limits)

    def prepare(self, connection: Connection) -> None:
        """Needs nothing."""

    def partitions(self, event: Webhook) -> Iterable[Partition]:
        return ()

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Webhook]]) -> WriteReport:
        webhooks = [arrival.event for arrival in arrivals]
        seen = [
            Seen(webhook.provider, webhook.of_number, status)
            for webhook in webhooks
            for status in webhook.statuses
        ]
        new = max(0, connection.execute(QUERIES["insert_statuses"], _columns(seen)).rowcount) if seen else 0
        if any(each.of_number for each in seen):
            connection.execute(QUERIES["replace_foreign_statuses"], _columns(seen))
        judged = merge_messages(connection, [each.status.message_id for each in seen], self._limits)
        recipients.learn(connection, seen, contacts_of(judged), self._contact_key)
        events = [
            (webhook.provider, each, bool(webhook.of_number))
            for webhook in webhooks
            for each in webhook.inbound
        ]
        report = inbound.store(connection, events, self._contact_key)
        self._notices.take(connection, webhooks)
        metrics.OPT_OUTS.inc(report.decided)
        metrics.WEBHOOKS_ODD.inc(sum(webhook.odd for webhook in webhooks))
        metrics.WEBHOOK_NOTICES_OVER.inc(sum(webhook.notices_over for webhook in webhooks))
        return WriteReport(new + report.decided, len(seen) - new)


class Waiting:
    """The statuses that came early, under the topology's limits: what `Maintenance` calls now and then."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def merge_waiting(self, connection: Connection, within: timedelta = KEPT_WAITING) -> int:
        return merge_waiting(connection, within, self._limits)

    def count_waiting(self, connection: Connection) -> int:
        return count_waiting(connection)


def merge_waiting(connection: Connection, within: timedelta = KEPT_WAITING, limits: Limits = LIMITS) -> int:
    """Merges statuses that came before their delivery's own result; returns how many are done with.

    Looks at those that the provider has told of `within` that time, at most `WAITING_BATCH_MAX` messages. One
    transaction of its own. Call it now and then, from any number of processes.
    """
    with connection.transaction():
        asked = {"within": within, "limit": WAITING_BATCH_MAX}
        rows = connection.execute(QUERIES["list_waiting_messages"], asked, prepare=False)
        judged = merge_messages(connection, [str(message_id) for (message_id,) in rows], limits)
        return sum(len(each.done) for each in judged)


def count_waiting(connection: Connection) -> int:
    """Statuses whose delivery is not known, or cannot be judged, yet; those of other senders stay so."""
    (row,) = fetch(connection, QUERIES["count_waiting"], _Count, [KEPT_WAITING])
    return row.waiting


class _Count(NamedTuple):
    waiting: int


class Found(NamedTuple):
    """A stored status and the delivery that it is about; `provider` as it is stored.

    `of_number`: whose webhook reported it, where that may speak of its own messages alone.
    """

    provider: str
    of_number: str
    message_id: str
    status: str
    attempt_id: str | None
    errors: list[dict[str, object]] | None
    at_ms: int
    campaign_month: date
    campaign_id: str
    contact_id: str


class Held(NamedTuple):
    """A delivery whose row is locked."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    tenant_id: str
    state: str
    attempt_id: str | None
    provider_message_id: str | None
    attempts: int


def merge_messages(
    connection: Connection, message_ids: Sequence[str], limits: Limits = LIMITS
) -> list[Judged]:
    """Merges the stored statuses of these messages that are not merged yet. Commits nothing.

    Each change of a delivery puts its event into the outbox, in the same transaction.
    """
    if not message_ids:
        return []
    by_delivery: dict[Key, list[Found]] = defaultdict(list)
    for found in fetch(
        connection, QUERIES["find_deliveries_of_messages"], Found, {"message_ids": list(message_ids)}
    ):
        by_delivery[_key(found)].append(found)
    keys = sorted(by_delivery)
    held = fetch(
        connection,
        QUERIES["lock_deliveries"],
        Held,
        {
            "months": [month for month, _, _ in keys],
            "campaigns": [campaign for _, campaign, _ in keys],
            "contacts": [contact for _, _, contact in keys],
        },
    )
    failed = _reported_as_failed(
        connection, [(row, found) for row in held for found in by_delivery[_key(row)]]
    )
    replaceable = _replaceable(connection, held, by_delivery)
    others = _elsewhere(connection, held, by_delivery)
    judged = [judge(row, by_delivery[_key(row)], failed, limits, replaceable, others) for row in held]
    _write(connection, judged, limits)
    return judged


def contacts_of(judged: Iterable[Judged]) -> Mapping[recipients.Told, set[recipients.Contact]]:
    """To whom the messages of these statuses went."""
    contacts: dict[recipients.Told, set[recipients.Contact]] = defaultdict(set)
    for each in judged:
        for found in each.statuses:
            told = (found.provider, found.of_number, found.message_id, found.attempt_id)
            contacts[told].add((each.held.tenant_id, each.held.contact_id))
    return contacts


def _reported_as_failed(connection: Connection, told: Iterable[tuple[Held, Found]]) -> Collection[str]:
    """Of the messages that a status `sent` is about, those that failed before it came, and were given up.

    Asked only where that can be: of a delivery that waits again, or is in a later attempt.
    """
    doubtful = {
        (found.provider, found.of_number, found.message_id, not _is_of_last(row, found))
        for row, found in told
        if found.status == DeliveryState.SENT
        and (not _is_of_last(row, found) or row.state not in _IN_CALL)
        and row.state not in RANKS
    }
    if not doubtful:
        return ()
    asked = {
        "providers": [one for one, _, _, _ in doubtful],
        "of_numbers": [one for _, one, _, _ in doubtful],
        "message_ids": [one for _, _, one, _ in doubtful],
        "of_earlier": [one for _, _, _, one in doubtful],
    }
    return {str(message_id) for (message_id,) in connection.execute(QUERIES["list_failed_messages"], asked)}


def _replaceable(
    connection: Connection, held: Iterable[Held], told: Mapping[Key, Sequence[Found]]
) -> Collection[Key]:
    """Of the deliveries whose message was rejected, those that have a message with fallbacks to try."""
    rejected = {
        _key(row): found.provider
        for row in held
        for found in told[_key(row)]
        if found.status == DeliveryState.FAILED
        and isinstance(failures.action_of(found.provider, _codes(found)), FailMessage)
    }
    return fallbacks.left_of(connection, rejected) if rejected else ()


def _elsewhere(
    connection: Connection, held: Iterable[Held], told: Mapping[Key, Sequence[Found]]
) -> Mapping[Key, elsewhere.Found]:
    """Where the deliveries whose message failed may go, if they do not wait for another attempt."""
    ending = [
        (*_key(row), action.elsewhere)
        for row in held
        for found in told[_key(row)]
        if found.status == DeliveryState.FAILED
        and _is_of_last(row, found)
        and (action := failures.action_of(found.provider, _codes(found))) is not None
        and action.elsewhere != "nowhere"
    ]
    if not ending:
        return {}
    asked = elsewhere.asked(ending)
    rows = fetch(connection, elsewhere.QUERIES["find_elsewhere"], elsewhere.Found, asked)
    return {found.key: found for found in rows}


class Judged(msgspec.Struct, frozen=True):
    """What a delivery's statuses come to: those that are `done` with, and what is to be written."""

    held: Held
    statuses: Sequence[Found]
    done: list[Found]
    state: str | None  # None leaves the delivery as it is
    by: Found | None  # the status that decided
    proof: Found | None  # that the message left
    again: Again | None = None  # it failed, and the delivery waits for another attempt


def judge(
    held: Held,
    statuses: Sequence[Found],
    failed: Collection[str] = (),
    limits: Limits = LIMITS,
    replaceable: Collection[Key] = (),
    others: Mapping[Key, elsewhere.Found] = MappingProxyType({}),
) -> Judged:
    """Pure. Those that must wait are in none of the result's fields.

    `failed`: messages that are reported as failed already; that they were sent before says nothing any more.
    `others`: where deliveries may go that would end.
    """
    state, by, proof = held.state, None, None
    done: list[Found] = []
    for found in sorted(statuses, key=lambda each: RANKS.get(each.status, 0)):
        if found.status == DeliveryState.SENT and found.message_id in failed:
            done.append(found)
            continue
        match merge(state, found.status, of_last_attempt=_is_of_last(held, found)):
            case Waits():
                continue
            case Becomes(state=after):
                state, by = after, found
        proof = found if found.status in PROOFS else proof
        done.append(found)
    if by is None:
        return Judged(held, statuses, done, None, by, proof)
    if state == DeliveryState.FAILED:
        action = failures.action_of(by.provider, _codes(by))
        has_other = _key(held) in replaceable
        if (wait := failures.again(action, held.attempts, limits, replaceable=has_other)) is not None:
            # A reported failure overrules that the message was sent.
            return Judged(held, statuses, done, DeliveryState.WAITING, by, None, wait)
        if action is not None and (other := others.get(_key(held))) is not None:
            wait = Again(action.name, 0.0, elsewhere=other)
            return Judged(held, statuses, done, DeliveryState.WAITING, by, None, wait)
    return Judged(held, statuses, done, state, by, proof)


def _write(connection: Connection, judged: Sequence[Judged], limits: Limits) -> None:
    changes = {_key(each.held): each for each in judged if each.by is not None}
    if changes:
        settled = _settle(connection, changes)
        enqueue_all(connection, EVENTS_ROLE, map(event_of, settled))
        for row in settled:
            by, wait = changes[_key(row)].by, changes[_key(row)].again
            assert by is not None
            metrics.STATUSES_MERGED.labels(by.status).inc()
            if by.status == DeliveryState.FAILED:
                failure = consequences.Failure(
                    by.provider,
                    tuple(_codes(by)),
                    _reason(by),
                    by.at_ms,
                    row.number_id or "",
                    row.campaign_id,
                    row.contact_id,
                    is_final=wait is None or wait.elsewhere is not None,
                )
                consequences.apply(connection, failure, limits)
        _take_back(connection, [each for each in changes.values() if each.again is not None])
    opt_outs = [
        inbound.Decision(each.held.tenant_id, each.held.contact_id, _reason(found), found.at_ms, False)
        for each in judged
        for found in each.done  # also where it changes no state: of an earlier attempt, or told before
        if _is_opt_out(found)
    ]
    metrics.OPT_OUTS.inc(inbound.decide(connection, opt_outs))
    proofs = {
        each.proof.attempt_id: each.proof.message_id
        for each in judged
        if each.proof is not None and each.proof.attempt_id is not None
    }
    if proofs:
        connection.execute(
            QUERIES["settle_attempts"], {"attempt_ids": [*proofs], "message_ids": [*proofs.values()]}
        )
    if done := [found for each in judged for found in each.done]:
        connection.execute(
            QUERIES["mark_merged"],
            {
                "providers": [found.provider for found in done],
                "message_ids": [found.message_id for found in done],
                "statuses": [found.status for found in done],
            },
        )


def _take_back(connection: Connection, judged: Sequence[Judged]) -> None:
    told = [
        (each.by.attempt_id or each.held.attempt_id, each.by, each.again)
        for each in judged
        if each.by is not None and each.again is not None
    ]
    if told:
        columns = {
            "attempt_ids": [attempt_id for attempt_id, _, _ in told],
            "message_ids": [by.message_id for _, by, _ in told],
            "codes": [next(iter(_codes(by)), None) for _, by, _ in told],
            "actions": [wait.action for _, _, wait in told],
            "details": [_reason(by) for _, by, _ in told],
        }
        connection.execute(QUERIES["take_back_attempts"], columns)


def _settle(connection: Connection, changes: Mapping[Key, Judged]) -> list[DeliveryChange]:
    found = [(each, each.by) for each in changes.values() if each.by is not None]
    return fetch(
        connection,
        QUERIES["settle_deliveries"],
        DeliveryChange,
        {
            "months": [month for month, _, _ in changes],
            "campaigns": [campaign for _, campaign, _ in changes],
            "contacts": [contact for _, _, contact in changes],
            "states": [each.state for each, _ in found],
            "reasons": [_settled_reason(by, each.again) for each, by in found],
            "message_ids": [by.message_id for _, by in found],
            "due_at_ms": [
                None if each.again is None else by.at_ms + int(each.again.after_s * 1000)
                for each, by in found
            ],
            "uncounted": [int(each.again is not None and not each.again.counted) for each, _ in found],
            "with_fallbacks": [each.again is not None and each.again.with_fallbacks for each, _ in found],
            **elsewhere.columns([each.again.elsewhere if each.again else None for each, _ in found]),
        },
    )


def _is_of_last(held: Held, found: Found) -> bool:
    if found.attempt_id is None:
        return found.message_id == held.provider_message_id
    return found.attempt_id == held.attempt_id


def _key(row: Found | Held | DeliveryChange) -> Key:
    return (row.campaign_month, row.campaign_id, row.contact_id)


def _is_opt_out(found: Found) -> bool:
    source = providers.webhooks_of(found.provider)
    return any(source.is_opt_out(str(error.get("code"))) for error in found.errors or [])


def _codes(found: Found) -> list[str]:
    return [str(error.get("code")) for error in found.errors or []]


def _reason(found: Found) -> str:
    told = [f"{error.get('code')} {error.get('title', '')}".strip() for error in found.errors or []]
    return "; ".join(told) or "failed at the provider"


def _settled_reason(by: Found, wait: Again | None) -> str:
    if by.status != DeliveryState.FAILED:
        return ""
    if wait is not None and wait.elsewhere is not None:
        return wait.elsewhere.reason(_reason(by))
    following = wait is not None and wait.with_fallbacks
    return f"{_reason(by)}; {NEXT_WITH_FALLBACKS}" if following else _reason(by)


def _columns(seen: Sequence[Seen]) -> dict[str, list[Any]]:
    statuses = [each.status for each in seen]
    return {
        "providers": [each.provider for each in seen],
        "of_numbers": [each.of_number for each in seen],
        "message_ids": [status.message_id for status in statuses],
        "statuses": [status.status for status in statuses],
        "attempt_ids": [status.attempt_id for status in statuses],
        "at": [status.at_ms for status in statuses],
        "errors": [
            msgspec.json.encode(status.errors).decode() if status.errors else None for status in statuses
        ],
    }

"""What a provider reports about accounts, numbers and templates: stored once each, and in force at once.

A notice leads to the numbers of its account, which their own webhooks teach. One that leads to no number is
stored as unresolved; it is applied when a number proves to be of its account.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from schemas.ids import inbound_id
from sinks.delivery.webhooks.consequences import Failure, apply
from sinks.delivery.webhooks.failures import Limits
from sinks.delivery.webhooks.people_limits import people_limit_of
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.webhook import AccountOfNumber, Effect, Notice, Webhook

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("notices.sql"))

_STATES: Mapping[Effect, str] = {
    "hold_account": "stopped",
    "quarantine": "quarantined",
    "session_lost": "paused",
}
UNRESOLVED_BATCH_MAX = 100
DELETE_BATCH_MAX = 1_000
KNOWN_MAX = 10_000  # accounts of numbers in memory
FORGET_AFTER_BATCHES = 1_000  # a number that was added since is learned then
OUTCOMES = ("held", "stopped", "limited", "outdated", "unresolved", "paused", "resumed")


class Listed(NamedTuple):
    """One notice, for an operator."""

    received_at: datetime
    at: datetime
    provider: str
    kind: str
    event: str
    account_id: str
    number_id: str
    phone: str
    template: str
    language: str
    detail: str
    outcome: str


class _Stored(NamedTuple):
    notice_id: str
    provider: str
    kind: str
    event: str
    account_id: str
    number_id: str
    phone: str
    template: str
    language: str
    detail: str
    effect: Effect
    at_ms: int


class _Found(NamedTuple):
    number_id: str
    named: bool


class _Count(NamedTuple):
    notices: int


class Notices:
    """Of one sink process. Commits nothing; the same webhooks again change nothing."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: set[tuple[str, AccountOfNumber]] = set()
        self._batches = 0

    def take(self, connection: Connection, webhooks: Iterable[Webhook]) -> None:
        webhooks = list(webhooks)
        self._learn(connection, webhooks)
        for webhook in webhooks:
            for notice in webhook.notices:
                heed(connection, webhook.provider, notice, self._limits)

    def _learn(self, connection: Connection, webhooks: Sequence[Webhook]) -> None:
        """Costs a statement only for a number that is new, or was in the last batch."""
        self._batches += 1
        if self._batches % FORGET_AFTER_BATCHES == 0 or len(self._known) > KNOWN_MAX:
            self._known.clear()
        # Of several accounts of one number the last: a number has one.
        told = {
            (webhook.provider, each.number_id): (webhook.provider, each)
            for webhook in webhooks
            for each in webhook.accounts
        }
        new = sorted(each for each in told.values() if each not in self._known)
        if not new:
            return
        columns = {
            "providers": [provider for provider, _ in new],
            "accounts": [each.account_id for _, each in new],
            "numbers": [each.number_id for _, each in new],
            "phones": [each.phone for _, each in new],
        }
        learned = [
            str(account_id) for (account_id,) in connection.execute(QUERIES["learn_accounts"], columns)
        ]
        if not learned:
            self._known.update(
                new
            )  # in the table, committed: what this transaction writes may be rolled back
            return
        _put_the_unresolved_in_force(connection, learned)


def heed(connection: Connection, provider: str, notice: Notice, limits: Limits) -> None:
    """Counts a notice; stores one of a kind that is stored, and puts it in force. Commits nothing."""
    told = (notice.kind, notice.event, notice.account_id, notice.number_id, notice.phone)
    about = (notice.template, notice.language, notice.detail, ",".join(notice.codes), str(notice.at_ms))
    row = _Stored(
        inbound_id(provider, "notice", *told, *about),
        provider,
        *told,
        notice.template,
        notice.language,
        notice.detail,
        notice.effect,
        notice.at_ms,
    )
    if notice.stored and connection.execute(QUERIES["insert_notice"], row._asdict()).rowcount != 1:
        return
    metrics.WEBHOOK_NOTICES.labels(notice.kind, notice.event or "none").inc()
    if not notice.stored:
        return
    LOG.warning(
        "webhook of %s: %s %s, account %s, number %s: %s",
        *(provider, notice.kind, notice.event or "without event", notice.account_id or "not stated"),
        *(notice.number_id or notice.phone or "not stated", notice.detail or "no detail"),
    )
    if notice.codes:
        reason = f"reported by the provider: {', '.join(notice.codes)}"
        apply(connection, Failure(provider, notice.codes, reason, notice.at_ms, notice.number_id), limits)
    _put_in_force(connection, row)


def _put_the_unresolved_in_force(connection: Connection, accounts: Sequence[str]) -> None:
    given = {"accounts": accounts, "limit": UNRESOLVED_BATCH_MAX}
    resolved = UNRESOLVED_BATCH_MAX
    while resolved == UNRESOLVED_BATCH_MAX:
        rows = fetch(connection, QUERIES["unresolved_notices"], _Stored, given)
        resolved = sum(_put_in_force(connection, row) != "unresolved" for row in rows)


def _put_in_force(connection: Connection, row: _Stored) -> str:
    if row.effect in ("none", "allow"):
        return ""
    outcome = _outcome(connection, row)
    if outcome == "unresolved" and row.effect == "session_open":
        return ""
    if outcome == "unresolved":
        LOG.error(
            "the %s of account %s leads to no sender number: not in force; see `quizstream number notices`",
            row.kind,
            row.account_id or "not stated",
        )
    connection.execute(QUERIES["set_outcome"], {"notice_id": row.notice_id, "outcome": outcome})
    return outcome


def _outcome(connection: Connection, row: _Stored) -> str:
    given = row._asdict()
    found = fetch(connection, QUERIES["numbers_of_notice"], _Found, given)
    numbers = [each.number_id for each in found]
    if not numbers:
        return "unresolved"
    if row.effect == "number_limit":
        # Of the number that the notice has; of every number of the account where it has none.
        numbers = [each.number_id for each in found if each.named] or numbers
        limit = f"{row.event} {row.detail}".strip()
        people = people_limit_of(row.detail)
        stated = {"states_people": people is not None, "people_max": people.people_max if people else None}
        given_limit = {"numbers": numbers, "limit": limit, "at_ms": row.at_ms}
        connection.execute(QUERIES["set_limits"], given_limit | stated)
        return "limited"
    about = {"numbers": numbers, "at_ms": row.at_ms}
    if row.effect == "session_open":
        connection.execute(QUERIES["lock_numbers"], about)
        return "resumed" if connection.execute(QUERIES["resume_sessions"], about).rowcount > 0 else ""
    newer = connection.execute(QUERIES["newer_notices"], given).fetchone()
    if newer is not None and newer != (0,):
        return "outdated"
    reason = f"reported by the provider: {row.kind} {row.event} {row.detail}".strip()
    if row.effect in _STATES:
        numbers = [str(one) for (one,) in connection.execute(QUERIES["numbers_not_released"], about)]
        if not numbers:
            return "outdated"
        if row.effect == "session_lost":
            pause = {**about, "numbers": numbers, "reason": f"{reason}: until the session is there again"}
            return "paused" if connection.execute(QUERIES["pause_sessions"], pause).rowcount > 0 else ""
        hold = {"numbers": numbers, "reason": reason, "state": _STATES[row.effect]}
        connection.execute(QUERIES["hold_numbers"], hold)
        return "held"
    stop = {
        "numbers": numbers,
        "template": row.template,
        "language": row.language,
        "at_ms": row.at_ms,
        "reason": f"{reason}: template {row.template}",
    }
    stopped = connection.execute(QUERIES["stop_campaigns_of_template"], stop)
    return "stopped" if stopped.rowcount > 0 else ""


def list_notices(connection: Connection, *, outcome: str | None, limit: int) -> list[Listed]:
    """The newest first."""
    return fetch(connection, QUERIES["list_notices"], Listed, {"outcome": outcome, "limit": limit})


def enforce(connection: Connection, days: int) -> None:
    """Deletes notices after `days`."""
    deleted = DELETE_BATCH_MAX
    while deleted == DELETE_BATCH_MAX:
        given = {"days": days, "limit": DELETE_BATCH_MAX}
        deleted = max(0, connection.execute(QUERIES["delete_old_notices"], given).rowcount)


class _Held(NamedTuple):
    provider: str
    state: str
    numbers: int


def show_held(connection: Connection) -> None:
    """How many numbers are held, by provider and state, in the metric."""
    metrics.NUMBERS_HELD.clear()
    for row in fetch(connection, QUERIES["count_held_numbers"], _Held):
        metrics.NUMBERS_HELD.labels(row.provider, row.state).set(row.numbers)


def show_unresolved(connection: Connection) -> None:
    """How many are not in force, in the metric."""
    (row,) = fetch(connection, QUERIES["count_unresolved_notices"], _Count)
    metrics.WEBHOOK_NOTICES_UNRESOLVED.set(row.notices)

"""Dead and failed deliveries are sent once more, where it is certain that no call of them sent anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

import msgspec

from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.delivery.operator.deliveries import QUERIES, Chosen, Place, get_delivery
from sinks.delivery.state import DEAD, FAILED
from sinks.postgres.audit_log import record
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue_all

REDRIVABLE = (DEAD, FAILED)
BATCH_MAX = 500  # rows that one transaction locks
REASON = "redriven by an operator"
NO_LIMIT = 32_768  # of redrives: more than the ledger counts


class Judged(NamedTuple):
    """`obstacle` says why it is not called again, '' where nothing stands against it."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    delivery_id: str
    obstacle: str


class Report(msgspec.Struct, frozen=True):
    """How many deliveries wait again, and how many were left, by reason."""

    redriven: int
    left: dict[str, int]


def redrive_one(
    connection: Connection,
    actor: str,
    delivery_id: UUID,
    reason: str,
    *,
    redrives_max: int = NO_LIMIT,
    dry_run: bool = False,
) -> Report:
    """One that was redriven `redrives_max` times is quarantined: it is left. Raises UnknownDelivery and
    PersonalReason.
    """
    get_delivery(connection, delivery_id)
    chosen = {**Chosen().parameters, "delivery_id": delivery_id, "redrives_max": redrives_max}
    with connection.transaction():
        judged, redriven = _step(connection, chosen, Place(), 1, dry_run)
        for one in redriven:
            record(connection, actor, "delivery.redrive", one, reason=reason)
    return _report([judged])


def redrive_many(
    connection: Connection,
    actor: str,
    chosen: Chosen,
    reason: str,
    *,
    redrives_max: int = NO_LIMIT,
    dry_run: bool = False,
) -> Report:
    """The dead and failed of the chosen, in transactions of BATCH_MAX rows; broken off, the same call does
    the rest, since what waits again is not chosen any more.

    Raises PersonalReason.
    """
    if chosen.states is None:
        chosen = chosen._replace(states=REDRIVABLE)
    parameters = {**chosen.parameters, "delivery_id": None, "redrives_max": redrives_max}
    place, steps = Place(), []
    while True:
        with connection.transaction():
            judged, redriven = _step(connection, parameters, place, BATCH_MAX, dry_run)
            if redriven:
                action = "deliveries.redrive" if chosen.campaign_id is None else "campaign.redrive"
                subject = chosen.campaign_id or chosen.tenant_id or "all"
                record(connection, actor, action, subject, **_detail(chosen, len(redriven), reason))
        steps.append(judged)
        if len(judged) < BATCH_MAX:
            return _report(steps)
        last = judged[-1]
        place = Place(last.campaign_month, last.campaign_id, last.contact_id)


def _step(
    connection: Connection, chosen: Mapping[str, object], after: Place, limit: int, dry_run: bool
) -> tuple[list[Judged], list[str]]:
    """What was judged, and the ids of those that wait again. Commits nothing."""
    parameters = {**chosen, **after.parameters, "limit": limit}
    judged = fetch(connection, QUERIES["judge_redrives"], Judged, parameters)
    certain = [row for row in judged if not row.obstacle]
    if dry_run or not certain:
        return judged, []
    keys = {
        "months": [row.campaign_month for row in certain],
        "campaigns": [row.campaign_id for row in certain],
        "contacts": [row.contact_id for row in certain],
        "reason": REASON,
    }
    changed = fetch(connection, QUERIES["redrive_deliveries"], DeliveryChange, keys)
    enqueue_all(connection, EVENTS_ROLE, map(event_of, changed))
    return judged, [row.delivery_id for row in changed]


def _detail(chosen: Chosen, deliveries: int, reason: str) -> dict[str, object]:
    """For the audit log. What was searched for is text of the operator, as the reason is: checked with it."""
    about = {
        "states": [str(state) for state in chosen.states or ()],
        "tenant": chosen.tenant_id,
        "since": None if chosen.since is None else chosen.since.isoformat(),
        "until": None if chosen.until is None else chosen.until.isoformat(),
    }
    told = reason if chosen.why is None else f"{reason} (those with {chosen.why!r})"
    given = {name: value for name, value in about.items() if value}
    return {"deliveries": deliveries, "reason": told, "chosen": given}


def _report(steps: Sequence[Sequence[Judged]]) -> Report:
    obstacles = Counter(row.obstacle for step in steps for row in step)
    redriven = obstacles.pop("", 0)
    return Report(redriven, dict(obstacles.most_common()))

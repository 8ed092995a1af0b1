"""Dead and failed deliveries are sent once more, where it is certain that no call of them sent anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

import msgspec

from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.delivery.operator.deliveries import QUERIES, Place, get_delivery
from sinks.delivery.state import DEAD, FAILED, DeliveryState
from sinks.postgres.audit_log import record
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue_all

REDRIVABLE = (DEAD, FAILED)
BATCH_MAX = 500  # rows that one transaction locks
REASON = "redriven by an operator"


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
    connection: Connection, actor: str, delivery_id: UUID, reason: str, *, dry_run: bool = False
) -> Report:
    """Raises UnknownDelivery and PersonalReason."""
    get_delivery(connection, delivery_id)
    chosen = {"delivery_id": delivery_id, "campaign": None, "states": None}
    with connection.transaction():
        judged, redriven = _step(connection, chosen, Place(), 1, dry_run)
        for one in redriven:
            record(connection, actor, "delivery.redrive", one, reason=reason)
    return _report([judged])


def redrive_campaign(
    connection: Connection,
    actor: str,
    campaign_id: str,
    reason: str,
    *,
    states: Sequence[DeliveryState] = REDRIVABLE,
    dry_run: bool = False,
) -> Report:
    """All of a campaign, in transactions of BATCH_MAX rows; broken off, the same call does the rest.

    Raises PersonalReason.
    """
    chosen = {"delivery_id": None, "campaign": campaign_id, "states": [str(state) for state in states]}
    place, steps = Place(), []
    while True:
        with connection.transaction():
            judged, redriven = _step(connection, chosen, place, BATCH_MAX, dry_run)
            if redriven:
                detail = {"deliveries": len(redriven), "reason": reason}
                record(connection, actor, "campaign.redrive", campaign_id, **detail)
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


def _report(steps: Sequence[Sequence[Judged]]) -> Report:
    obstacles = Counter(row.obstacle for step in steps for row in step)
    redriven = obstacles.pop("", 0)
    return Report(redriven, dict(obstacles.most_common()))

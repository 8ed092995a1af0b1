"""Why a delivery of the ledger has not been sent yet, in words for an operator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sinks.delivery.holds import Hold, read_holds
from sinks.delivery.stop_switch import Stop, stops
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("waiting.sql"))
AHEAD_COUNTED_MAX = 100_000
NUMBERS_NAMED_MAX = 5


class Standing(NamedTuple):
    """What decides whether the delivery may be called now; times are the database's."""

    state: str
    reason: str
    due_at: datetime
    early: bool
    tenant_id: str
    campaign_id: str
    as_of: datetime
    cancelled: bool
    suppressed: bool
    ahead: int
    route: str | None


class NumberStanding(NamedTuple):
    """A number that sends for the tenant. `served`: a live sender process has its access token."""

    number_id: str
    state: str
    reason: str
    stopped: bool
    served: bool
    paused_until: datetime | None

    @property
    def held(self) -> bool:
        return self.stopped or self.state != "active"

    def __str__(self) -> str:
        state = "stopped" if self.stopped else self.state
        return f"{self.number_id} ({state}{f': {self.reason}' if self.reason else ''})"


class Waits(NamedTuple):
    """A delivery that is not called yet, and each reason; the first to be mended first."""

    as_of: datetime
    reasons: list[str]


def why_waiting(connection: Connection, delivery_id: UUID) -> Waits | None:
    """The reasons, at least one; None for a delivery that is called or final, or in no table."""
    parameters = {"delivery": delivery_id, "counted_max": AHEAD_COUNTED_MAX}
    found = fetch(connection, QUERIES["delivery_standing"], Standing, parameters)
    if not found or found[0].state not in ("waiting", "leased"):
        return None
    standing = found[0]
    numbers = fetch(connection, QUERIES["numbers_of_tenant"], NumberStanding, {"tenant": standing.tenant_id})
    reasons = reasons_of(standing, numbers, stops(connection), read_holds(connection))
    return Waits(standing.as_of, reasons)


def reasons_of(
    standing: Standing,
    numbers: Sequence[NumberStanding],
    stopped: Sequence[Stop] = (),
    holds: Sequence[Hold] = (),
) -> list[str]:
    """Pure: what forbids the call, else what it waits for. `holds` are those of the whole deployment."""
    reasons = [str(hold) for hold in holds]
    if standing.suppressed:
        reasons.append("the contact opted out: it ends as suppressed when it is due")
    if standing.cancelled:
        reasons.append("its campaign is cancelled: it ends as cancelled when it is due")
    scopes = {f"tenant:{standing.tenant_id}", f"campaign:{standing.campaign_id}"}
    reasons += [_of_stop(stop) for stop in stopped if stop.scope in scopes]
    reasons += _of_numbers(standing.tenant_id, numbers)
    if standing.early:
        because = f" ({standing.reason})" if standing.reason else ""
        reasons.append(f"it is due at {standing.due_at:%Y-%m-%d %H:%M:%S} UTC{because}")
    if reasons:
        return reasons
    if standing.state == "leased":
        return ["a sender has leased it: the call follows, or it is handed back"]
    own = next((number for number in numbers if number.number_id == standing.route), None)
    if own is not None and own.paused_until is not None:
        return [f"the provider has limited its number {own} until {own.paused_until:%Y-%m-%d %H:%M:%S} UTC"]
    if standing.ahead:
        counted = "at least " if standing.ahead == AHEAD_COUNTED_MAX else ""
        return [f"{counted}{standing.ahead:,} due deliveries of its number come first"]
    return ["a sender takes it next"]


def _of_stop(stop: Stop) -> str:
    kind, _, name = stop.scope.partition(":")
    because = f": {stop.reason}" if stop.reason else ""
    if stop.by_tenant:
        return f"{kind} {name} is paused by its tenant{because} -> the tenant resumes it"
    return f"{kind} {name} is stopped{because} -> `quizstream resume-sending --{kind} {name}`"


def _of_numbers(tenant_id: str, numbers: Sequence[NumberStanding]) -> list[str]:
    if not numbers:
        return [f"there is no sender number for tenant {tenant_id} -> `quizstream number add`"]
    usable = [number for number in numbers if not number.held]
    if not usable:
        named = ", ".join(str(number) for number in numbers[:NUMBERS_NAMED_MAX])
        more = f" and {len(numbers) - NUMBERS_NAMED_MAX} more" if len(numbers) > NUMBERS_NAMED_MAX else ""
        release = "`quizstream number release ID`"
        return [f"each number of tenant {tenant_id} is held or stopped: {named}{more} -> {release}"]
    served = [number for number in usable if number.served]
    if not served:
        return [f"no sender process has the access token of a number of tenant {tenant_id}"]
    pauses = [number.paused_until for number in served if number.paused_until is not None]
    if len(pauses) == len(served):
        until = f"{min(pauses):%Y-%m-%d %H:%M:%S} UTC"
        return [f"the provider has limited each number of tenant {tenant_id}, the first until {until}"]
    return []

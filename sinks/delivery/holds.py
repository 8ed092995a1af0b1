"""Why nothing may be sent now, for the sender's log and metric, `quizstream doctor` and `quizstream lag`.

A hold is of the whole deployment. Stops of one tenant, campaign or number are none: others are still sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from prometheus_client import Gauge

from sinks.delivery.statements import statement
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch

log = logging.getLogger(__name__)

DUE_COUNTED_MAX = 1_000_000
LOGGED_AT_SIGHT = 2  # checks in a row that find it: at a start the permit may be a moment late


class HoldReason(StrEnum):
    """A label of the metric `quizstream_sender_held`."""

    STOPPED = "stopped"
    RECOVERING = "recovering"
    NO_PERMIT = "no_permit"
    OTHER_LEDGER = "other_ledger"
    NO_NUMBER = "no_number"
    NUMBERS_HELD = "numbers_held"
    NO_SENDER = "no_sender"
    NO_CREDENTIAL = "no_credential"
    NUMBERS_PAUSED = "numbers_paused"
    DATABASE_UNAVAILABLE = "database_unavailable"


@dataclass(frozen=True)
class Hold:
    """`detail`: what holds up all sending; `remedy`: what to do."""

    reason: HoldReason
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"nothing is sent: {self.detail} -> {self.remedy}"


DATABASE_UNAVAILABLE = Hold(
    HoldReason.DATABASE_UNAVAILABLE, "the database does not answer", "restore PostgreSQL; sending continues"
)


class Standing(NamedTuple):
    """What decides whether anything may be sent. `None`: no such stop, or no permit was ever granted.

    Of the numbers: `usable` are active and not stopped, `served` have a live sender process with their
    credential, `paused` are those of them that wait for the provider.
    """

    stop_reason: str | None
    recovery_reason: str | None
    permit_runs: bool | None
    permit_fits: bool | None
    senders: int
    numbers: int
    usable: int
    served: int
    paused: int


class Due(NamedTuple):
    """Deliveries that are due and not leased, and for how long the oldest has been.

    Beyond `DUE_COUNTED_MAX` both are of that many of them.
    """

    found: int
    age_s: float


def holds_of(standing: Standing) -> list[Hold]:
    """The reasons, the first to be mended first; empty where sending is possible. Pure."""
    return [hold for hold in (_stopped(standing), _not_permitted(standing), _no_number(standing)) if hold]


def read_holds(connection: Connection) -> list[Hold]:
    """As an operator's command sees it."""
    (standing,) = fetch(connection, statement("sending_standing"), Standing, {})
    return holds_of(standing)


def read_due(connection: Connection) -> Due:
    (due,) = fetch(connection, statement("due_deliveries"), Due, {"counted_max": DUE_COUNTED_MAX})
    return due


def _stopped(standing: Standing) -> Hold | None:
    if standing.recovery_reason is not None:
        return Hold(
            HoldReason.RECOVERING,
            standing.recovery_reason,
            "it ends by itself once the sinks have caught up: see `quizstream lag`",
        )
    if standing.stop_reason is not None:
        because = f": {standing.stop_reason}" if standing.stop_reason else ""
        return Hold(HoldReason.STOPPED, f"sending is stopped{because}", "`quizstream resume-sending`")
    return None


def _not_permitted(standing: Standing) -> Hold | None:
    if standing.permit_runs is None or (standing.permit_runs and standing.permit_fits):
        return None
    if standing.permit_runs:
        return Hold(
            HoldReason.OTHER_LEDGER,
            "the sending permit is of another database server or of other tables",
            "check that postgres-sink and whatsapp-sender have the same DATABASE_URL; read their logs",
        )
    return Hold(
        HoldReason.NO_PERMIT,
        "there is no sending permit: no outbox publisher has renewed it",
        "check that postgres-sink runs and reaches Kafka; read its log",
    )


def _no_number(standing: Standing) -> Hold | None:
    if standing.numbers == 0:
        return Hold(HoldReason.NO_NUMBER, "there is no sender number", "`quizstream number add`")
    if standing.usable == 0:
        return Hold(
            HoldReason.NUMBERS_HELD,
            f"every sender number ({standing.numbers}) is held or stopped",
            "`quizstream number list` has the reasons; then `quizstream number release ID`",
        )
    if standing.senders == 0:
        return Hold(HoldReason.NO_SENDER, "no sender process runs", "start it: `quizstream up`")
    if standing.served == 0:
        return Hold(
            HoldReason.NO_CREDENTIAL,
            "no sender process has the access token of any usable number",
            "set the variables that `quizstream number list` shows (credential) for whatsapp-sender",
        )
    if standing.paused == standing.served:
        return Hold(
            HoldReason.NUMBERS_PAUSED,
            f"the provider has limited every usable number ({standing.served})",
            "it ends by itself: `quizstream number list` has the times",
        )
    return None


class HoldWatch:
    """Shows the holds of each check in the metric; logs each once it lasts, and when all have ended."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._seen: dict[HoldReason, int] = {}
        self._logged: set[HoldReason] = set()
        self.now: tuple[Hold, ...] = ()
        self.observe(())

    def observe(self, holds: Sequence[Hold]) -> None:
        """The result of one check."""
        self.now = tuple(holds)
        present = {hold.reason for hold in holds}
        for reason in HoldReason:
            self._gauge.labels(reason.value).set(reason in present)
        self._seen = {reason: self._seen.get(reason, 0) + 1 for reason in present}
        for hold in holds:
            if self._seen[hold.reason] == LOGGED_AT_SIGHT:
                log.warning("%s", hold)
                self._logged.add(hold.reason)
        if not present and self._logged:
            log.info("sending is possible again")
            self._logged.clear()

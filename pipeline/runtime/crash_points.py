"""Named places where fault tests make a process die or stop. They cost nothing when unarmed.

`QUIZSTREAM_CRASH_POINTS="sender.marked:stop,sender.called:kill:3"`: the third time that `sender.called` is
reached the process kills itself; the first time that `sender.marked` is reached it stops (SIGSTOP) until it
receives SIGCONT.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.errors import OperatorError

VARIABLE = "QUIZSTREAM_CRASH_POINTS"

# Every name that code may reach, and the effects that are durable there. A test compares it with the code.
POINTS: Mapping[str, str] = {
    "edge.before_produce": "nothing of the request",
    "edge.produced": "nothing; the record is in the client's queue",
    "edge.reported": "the record is in the log, the 202 is not written",
    "stream.begun": "nothing of the chunk",
    "stream.processed": "nothing of the chunk; it is processed in memory",
    "stream.outputs_sent": "perhaps some of the chunk's outputs, none of its changelog records",
    "stream.sent": "perhaps some of the chunk's outputs and changelog records; no report received",
    "stream.delivered": "the chunk's outputs and changelog records",
    "stream.written": "the chunk's state too; the chunk is not acked",
    "stream.acked": "the chunk's outputs and state; its offset is not committed",
    "stream.before_commit": "outputs and state of every acked chunk",
    "stream.committed": "the offsets too",
    "sink.taken": "nothing of the batch",
    "sink.moved": "nothing: the transaction that moved the offsets is open",
    "sink.copying": "nothing: the COPY of the rows has not ended",
    "sink.rejected": "dead letters of the batch, not its rows and offsets",
    "sink.written": "nothing: rows and offsets of a batch are written, their transaction is open",
    "sink.committed": "rows and offsets in the tables; the group's committed offset is behind",
    "sink.published": "rows and offsets in the tables; the group's commit is in flight",
    "outbox.read": "the events, in the table only",
    "outbox.produced": "the events in the table, perhaps some in their topic",
    "outbox.delivered": "the events in their topic, and still in the table",
    "outbox.deleted": "the events in their topic",
    "sender.numbers_leased": "the numbers' leases",
    "sender.routing": "nothing: the transaction that stores routes of waiting rows is open",
    "sender.routed": "routes of waiting rows; they are not leased",
    "sender.claiming": "nothing: the transaction that leases rows is open",
    "sender.claimed": "rows are leased",
    "sender.before_mark": "rows are leased, a connection is open",
    "sender.marking": "rows are leased: the transaction that marks them calling is open",
    "sender.marked": "rows are calling, no byte was written",
    "sender.requested": "rows are calling, the request is with the kernel",
    "sender.called": "the provider answered, the answer is not recorded",
    "sender.recording": "as before: the transaction that records the answer is open",
    "sender.recorded": "the answer is recorded",
    "sender.reclaimed": "rows of lost senders are reclaimed",
}


class UnknownCrashPoint(OperatorError):
    """The variable arms a point or an action that does not exist."""


@dataclass
class _Arm:
    action: str
    countdown: int


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit() -> None:
    os._exit(70)


ACTIONS: Mapping[str, Callable[[], None]] = {"stop": _stop, "kill": _kill, "exit": _exit}


def parse(armed: str) -> dict[str, _Arm]:
    """Parse `point:action[:n]`, comma-separated; the action runs at the n-th visit, from 1."""
    arms = {}
    for entry in filter(None, (part.strip() for part in armed.split(","))):
        name, _, rest = entry.partition(":")
        action, _, visit = rest.partition(":")
        if name not in POINTS or action not in ACTIONS or not (visit or "1").isdigit():
            raise UnknownCrashPoint(
                f"{VARIABLE}: {entry!r} is not point:action[:n] with a known point and action"
            )
        arms[name] = _Arm(action, int(visit or "1"))
    return arms


def _armed_reach(arms: dict[str, _Arm]) -> Callable[[str], None]:
    def reach_armed(name: str) -> None:
        if name not in POINTS:
            raise UnknownCrashPoint(f"crash point {name!r} is not in the table")
        arm = arms.get(name)
        if arm is None:
            return
        arm.countdown -= 1
        if arm.countdown == 0:
            os.write(2, f"crash point {name}: {arm.action}\n".encode())
            ACTIONS[arm.action]()

    return reach_armed


def _reach_unarmed(name: str) -> None:
    """No effect: no point is armed."""


reach: Callable[[str], None] = (
    _armed_reach(parse(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else _reach_unarmed
)

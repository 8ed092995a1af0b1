"""Named places where a process can be made to die or stop, for fault tests. Free when unarmed.

`QUIZSTREAM_CRASH_POINTS="sender.marked:stop,sender.called:kill:3"`: at the third time that `sender.called`
is reached the process kills itself; at the first time that `sender.marked` is reached it stops (SIGSTOP)
until somebody continues it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

VARIABLE = "QUIZSTREAM_CRASH_POINTS"

# Every name that code may reach, and what is durable there. A test holds this table against the code.
POINTS: Mapping[str, str] = {
    "stream.processed": "nothing of the chunk",
    "stream.delivered": "the chunk's outputs and changelog records",
    "stream.written": "the chunk's state too; the chunk is not acked",
    "sink.written": "rows and positions of a batch are written, their transaction is open",
    "sink.committed": "rows and positions are durable, Kafka's group offset is behind",
    "sender.claimed": "rows are leased",
    "sender.before_mark": "rows are leased, a connection is open",
    "sender.marked": "rows are calling, no byte was written",
    "sender.called": "the provider answered, the answer is not written down",
    "sender.recorded": "the answer is written down",
}


class UnknownCrashPoint(ValueError):
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
    """`point:action[:n]`, comma-separated; n is the visit that counts, from 1."""
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
            ACTIONS[arm.action]()

    return reach_armed


def _reach_unarmed(name: str) -> None:
    """Nothing is armed: nothing happens."""


reach: Callable[[str], None] = (
    _armed_reach(parse(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else _reach_unarmed
)

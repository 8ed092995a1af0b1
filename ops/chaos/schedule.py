"""The classes of faults, and the schedule of a seed. Pure: same seed, same schedule."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

import msgspec

from ops.chaos.machine.links import LINKS

PROCESSES = ("edge", "worker", "postgres-sink", "whatsapp-sender", "simulator")
# Processes whose wall clock has an effect.
CLOCKS = ("edge", "postgres-sink", "whatsapp-sender")
POISONABLE = ("completions", "outcomes", "matches", "deliveries", "duplicates", "provider_webhooks")

WARM_UP_S = 3.0
# Between two faults on one target: killing it again before it works shows nothing new.
APART_S = 6.0
EACH_PER_10_MINUTES = 3
FAULTS_PER_MINUTE_SHORT = 30  # for a run that is too short for every class
PLACEMENTS_TRIED_MAX = 400

Needs = Literal["nothing", "one broker", "several brokers"]


@dataclass(frozen=True, slots=True)
class FaultClass:
    """`targets` differ by the resource that they occupy; `duration_s`: the range of durations."""

    kind: str
    about: str
    targets: tuple[str, ...]
    duration_s: tuple[float, float] = (0.0, 0.0)
    needs: Needs = "nothing"


# Longer than any session time-out and any number's lease: a process that wakes up is a zombie.
ZOMBIE_S = (12.0, 18.0)

CLASSES = (
    FaultClass("process.kill", "SIGKILL", PROCESSES),
    FaultClass("process.terminate", "SIGTERM: a graceful stop, then a start", PROCESSES),
    FaultClass("process.stop", "SIGSTOP, others take over, SIGCONT", PROCESSES, ZOMBIE_S),
    FaultClass(
        "worker.join", "a further worker starts and stops", ("worker-1", "worker-2", "worker-3"), (8.0, 20.0)
    ),
    FaultClass(
        "process.second",
        "a second sender or sink starts and stops",
        ("whatsapp-sender-1", "postgres-sink-1"),
        (10.0, 20.0),
    ),
    FaultClass("kafka.kill", "SIGKILL of a broker, started again", ("kafka",), (1.0, 3.0)),
    FaultClass("kafka.freeze", "SIGSTOP of a broker, then SIGCONT", ("kafka",), (3.0, 8.0)),
    FaultClass(
        "kafka.controller", "SIGKILL of the active controller", ("kafka",), (1.0, 5.0), "several brokers"
    ),
    FaultClass(
        "kafka.two_gone",
        "SIGKILL of two of three brokers, started again",
        ("kafka",),
        (5.0, 10.0),
        "several brokers",
    ),
    FaultClass("postgres.kill", "SIGKILL of the postmaster, started again", ("postgres",), (0.5, 3.0)),
    FaultClass(
        "server.kill",
        "SIGKILL of a server, started again by its watch",
        ("kafka", "postgres"),
    ),
    FaultClass("postgres.terminate", "sessions ended in the middle of a COPY", ("postgres",)),
    FaultClass("postgres.lock", "the ledger locked by another session", ("postgres",), (2.0, 6.0)),
    FaultClass("postgres.deadlock", "a session locks in the opposite order", ("postgres",)),
    FaultClass("postgres.disk_full", "no file may grow past a limit", ("postgres",), (2.0, 5.0)),
    FaultClass("postgres.midnight", "completions around a midnight without partitions", ("days",)),
    FaultClass("clock.jump", "a wall clock is wrong by minutes, then right again", CLOCKS, (5.0, 10.0)),
    FaultClass("valkey.restart", "SIGKILL of Valkey, started again", ("valkey",), (0.5, 2.0)),
    FaultClass("valkey.memory", "no memory for anything new", ("valkey",), (2.0, 5.0)),
    FaultClass("link.delay", "every packet delayed by up to 0.3 s", LINKS, (4.0, 8.0)),
    FaultClass("link.drop", "connections reset, new ones too", LINKS, (1.0, 5.0)),
    FaultClass("link.half_close", "the server's direction is closed", LINKS),
    FaultClass("link.replies_lost", "requests arrive, replies are lost", LINKS, (2.0, 6.0)),
    FaultClass("provider.hang", "no answer to some calls", ("provider",), (1.0, 3.0)),
    FaultClass("provider.throttle", "too many: HTTP 429", ("provider",), (2.0, 5.0)),
    FaultClass("provider.error", "HTTP 500 with an unclear code", ("provider",), (0.5, 1.5)),
    FaultClass("provider.refuse", "a code that means not sent, retry", ("provider",), (1.0, 3.0)),
    FaultClass("provider.taken_then_reset", "the message is sent, the answer is a reset", ("provider",)),
    FaultClass("provider.garbage", "an answer that is not JSON", ("provider",)),
    FaultClass("provider.webhooks", "statuses doubled, late and out of order", ("webhooks",), (5.0, 15.0)),
    FaultClass("route.hold", "a number is held, then released", ("numbers",), (4.0, 8.0)),
    FaultClass("route.weights", "a tenant's numbers get other weights", ("numbers",)),
    FaultClass("load.burst", "a thousand completions at once, over and over", ("load",), (4.0, 7.0)),
    FaultClass("load.attack", "addresses send at ten times their limit", ("attackers",), (15.0, 25.0)),
    FaultClass("poison", "undecodable records", POISONABLE),
)
BY_KIND = {each.kind: each for each in CLASSES}


class Fault(msgspec.Struct, frozen=True):
    """`at_s`: seconds after the start of the load; `size`: 0 to 1, interpreted by the kind."""

    at_s: float
    kind: str
    target: str
    duration_s: float
    size: float

    @property
    def end_s(self) -> float:
        return self.at_s + self.duration_s


def classes_for(brokers: int) -> list[FaultClass]:
    unsuited = "one broker" if brokers > 1 else "several brokers"
    return [each for each in CLASSES if each.needs != unsuited]


def schedule(seed: int, duration_s: float, brokers: int = 1) -> list[Fault]:
    """Return the faults ordered by time; each ends within `duration_s`.

    A run of ten minutes has each class at least three times, one of three minutes at least once.
    """
    rng = random.Random(seed)
    known = classes_for(brokers)
    each = int(EACH_PER_10_MINUTES * duration_s / 600)
    if each == 0 and duration_s >= 180:
        each = 1
    wanted = known * each
    if not wanted:
        wanted = rng.sample(
            known, k=min(len(known), max(1, round(FAULTS_PER_MINUTE_SHORT * duration_s / 60)))
        )
    # Long faults first: they are the hardest to place.
    placed: list[Fault] = []
    for one in sorted(wanted, key=lambda each: -each.duration_s[1]):
        for _ in range(PLACEMENTS_TRIED_MAX):
            fault = _anywhere(one, duration_s, rng)
            if fault is not None and not any(_collide(fault, other) for other in placed):
                placed.append(fault)
                break
    return sorted(placed, key=lambda fault: (fault.at_s, fault.kind, fault.target))


def _anywhere(one: FaultClass, duration_s: float, rng: random.Random) -> Fault | None:
    """Return a fault at a random time and target; None if it would not end in time."""
    target = rng.choice(one.targets)
    lasts_s = rng.uniform(*one.duration_s)
    latest_s = duration_s - lasts_s
    at_s = rng.uniform(WARM_UP_S, max(WARM_UP_S, latest_s))
    size = rng.random()
    if at_s > latest_s:
        return None
    return Fault(round(at_s, 2), one.kind, target, round(lasts_s, 2), round(size, 3))


def _collide(one: Fault, other: Fault) -> bool:
    if one.target != other.target:
        return False
    return one.at_s < other.end_s + APART_S and other.at_s < one.end_s + APART_S

"""What a request costs at the edge: constant rates over HTTP, with Kafka behind it and nothing else.

The ids that were answered with 202 are compared with those in the topic before a figure is printed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from benchmarks.cpu import CpuClock, between
from benchmarks.load import Generation, sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Spread, Wrong, running, servers
from benchmarks.percentiles import Percentiles, percentiles_ms
from benchmarks.scene import Scene, plant
from benchmarks.subject import Tell
from ops.deployment.prepare import publish
from ops.embedded.home import Home
from ops.locate import Deployment
from pipeline.runtime.topic_reader import TopicScan
from schemas.codec import codec

WARM_UP_S = 5.0
CALM_S = 2.0  # between two runs
COUNTED = ("edge", "kafka", "generator")


class Run(msgspec.Struct, frozen=True):
    """One rate, once: `cpu_us` by process, for each request of the measured time."""

    rate_per_s: float
    accepted_per_s: float
    ack_ms: Percentiles
    cpu_us: dict[str, float]


class Rate(msgspec.Struct, frozen=True):
    """`ack_p50_ms` and `ack_p99_ms` count from when a request was due."""

    rate_per_s: float
    accepted_per_s: Spread
    ack_p50_ms: Spread
    ack_p99_ms: Spread
    cpu_us: dict[str, Spread]


class Result(msgspec.Struct, frozen=True):
    kind: str
    at: str
    commit: str
    machine: Machine
    seconds: float
    rounds: int
    checked: int
    rates: list[Rate]


def measure(rates_per_s: Sequence[float], seconds: float, rounds: int, port_base: int, tell: Tell) -> Result:
    """The rates in turns, `rounds` times. Raises Wrong, CannotStart, LoadBroken."""
    described, began = machine(), now()
    runs: dict[float, list[Run]] = {rate: [] for rate in rates_per_s}
    scene = Scene(secrets.token_hex(3), matching_percent=0, numbers=0)
    answered: list[str] = []
    with servers(tell, port_base) as found:
        plant(found, scene)
        publish(found)
        with running(found, ["edge"]):
            for turn in range(rounds):
                for rate in rates_per_s:
                    tell(f"turn {turn + 1} of {rounds}: {rate:g}/s for {seconds:g} s")
                    run, ids = _run(found, scene, rate, seconds, first_key=len(answered))
                    runs[rate].append(run)
                    answered += ids
            _compare(found, answered)
    return Result(
        kind="edge",
        at=began,
        commit=commit(),
        machine=described,
        seconds=seconds,
        rounds=rounds,
        checked=len(answered),
        rates=[_summary(rate, of_rate) for rate, of_rate in runs.items()],
    )


def _run(
    found: Deployment, scene: Scene, rate: float, seconds: float, first_key: int
) -> tuple[Run, list[str]]:
    warm_up = int(rate * WARM_UP_S)
    count = warm_up + int(rate * seconds)
    generation = Generation(found, scene, rate, count, first_key)
    try:
        cpu = CpuClock(Home(found.settings.home), {"generator": generation.pid})
        sleep_until(generation.begun_at + WARM_UP_S)
        before = cpu.read()
        sleep_until(generation.begun_at + WARM_UP_S + seconds)
        used = between(before, cpu.read())
        requests = generation.end()
    finally:
        generation.abandon()
    if requests.unanswered or requests.told.refused:
        raise Wrong(f"{requests.unanswered} requests without a 202: {requests.told.problems[:1]}")
    sleep_until(generation.begun_at + WARM_UP_S + seconds + CALM_S)
    accepted = requests.answered_between(warm_up, count, WARM_UP_S, WARM_UP_S + seconds)
    run = Run(
        rate,
        accepted / seconds,
        percentiles_ms(requests.latencies_s(warm_up, count)),
        {name: 1e6 * used.get(name, 0.0) / max(1, accepted) for name in COUNTED},
    )
    return run, [completion_id for _, completion_id in requests.ids()]


def _compare(found: Deployment, answered: list[str]) -> None:
    """Raises Wrong where the topic holds other ids than were answered."""
    topic = found.topology.topic("completions")
    decode = codec("completion").decode
    bootstrap = found.settings.kafka_bootstrap_servers
    stored = {decode(record.value).completion_id for record in TopicScan(bootstrap, topic).records()}
    if stored != set(answered) or len(stored) != len(answered):
        raise Wrong(f"{len(answered)} ids were answered, {len(stored)} are in the topic")


def _summary(rate: float, runs: Sequence[Run]) -> Rate:
    return Rate(
        rate_per_s=rate,
        accepted_per_s=Spread.of([run.accepted_per_s for run in runs]),
        ack_p50_ms=Spread.of([run.ack_ms.p50 or 0.0 for run in runs]),
        ack_p99_ms=Spread.of([run.ack_ms.p99 or 0.0 for run in runs]),
        cpu_us={name: Spread.of([run.cpu_us[name] for run in runs]) for name in COUNTED},
    )

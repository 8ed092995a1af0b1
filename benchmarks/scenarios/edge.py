"""Cost of a request at the edge: constant rates over HTTP, with Kafka behind it and no other process.

The ids that were answered with 202 are compared with those in the topic before a figure is printed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed, require_answered
from benchmarks.measure.cpu import CpuClock, sleep_until
from benchmarks.measure.deployment import Tell, prepared, processes
from benchmarks.measure.figures import Percentiles, Spread, percentiles_ms, spreads
from benchmarks.measure.machine import Measured, begin
from ops.deployment.prepare import publish
from ops.locate import Deployment
from pipeline.runtime.topic_reader import TopicScan
from schemas.codec import codec

WARM_UP_S = 5.0
CALM_S = 2.0  # between two runs
COUNTED = ("edge", "kafka", "generator")


class Run(msgspec.Struct, frozen=True):
    accepted_per_s: float
    ack_ms: Percentiles
    cpu_us: dict[str, float]
    ids: list[str]


class Rate(msgspec.Struct, frozen=True):
    """`ack_p50_ms` and `ack_p99_ms` count from when a request was due. `cpu_us`: of a request, by process."""

    rate_per_s: float
    accepted_per_s: Spread
    ack_p50_ms: Spread
    ack_p99_ms: Spread
    cpu_us: dict[str, Spread]


class Result(Measured, frozen=True, kw_only=True):
    seconds: float
    rounds: int
    checked: int
    rates: list[Rate]


def measure(rates_per_s: Sequence[float], seconds: float, rounds: int, port_base: int, tell: Tell) -> Result:
    """Every rate in each round. Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("edge")
    runs: dict[float, list[Run]] = {rate: [] for rate in rates_per_s}
    scene = Scene(secrets.token_hex(3), matching_percent=0, numbers=0)
    answered: list[str] = []
    with prepared(tell, port_base) as found:
        plant(found, scene)
        publish(found)
        with processes(found, ["edge"]):
            for turn in range(rounds):
                for rate in rates_per_s:
                    tell(f"round {turn + 1} of {rounds}: {rate:g}/s for {seconds:g} s")
                    run = _run(found, scene, rate, seconds, first_key=len(answered))
                    runs[rate].append(run)
                    answered += run.ids
            _compare(found, answered)
    rates = [_summary(rate, of_rate) for rate, of_rate in runs.items()]
    return Result(**head, seconds=seconds, rounds=rounds, checked=len(answered), rates=rates)


def _run(found: Deployment, scene: Scene, rate: float, seconds: float, first_key: int) -> Run:
    with Generation(found, scene, Constant(rate, int(rate * (WARM_UP_S + seconds))), first_key) as generation:
        began_at = generation.begun_at + WARM_UP_S
        ended_at = began_at + seconds
        used = CpuClock(found, {"generator": generation.pid}).during(began_at, ended_at)
        requests = generation.end()
    require_answered(requests)
    sleep_until(ended_at + CALM_S)
    accepted = requests.accepted_in(began_at, ended_at)
    return Run(
        accepted / seconds,
        percentiles_ms(requests.latencies_s(began_at, ended_at)),
        {name: 1e6 * used.get(name, 0.0) / max(1, accepted) for name in COUNTED},
        list(requests.accepted()),
    )


def _compare(found: Deployment, answered: list[str]) -> None:
    """Raises CheckFailed where the topic holds other ids than were answered."""
    topic = found.topology.topic("completions")
    decode = codec("completion").decode
    bootstrap = found.settings.kafka_bootstrap_servers
    stored = {decode(record.value).completion_id for record in TopicScan(bootstrap, topic).records()}
    if stored != set(answered) or len(stored) != len(answered):
        raise CheckFailed(f"{len(answered)} ids were answered, {len(stored)} are in the topic")


def _summary(rate: float, runs: Sequence[Run]) -> Rate:
    return Rate(
        rate_per_s=rate,
        accepted_per_s=Spread.of([run.accepted_per_s for run in runs]),
        ack_p50_ms=Spread.of([run.ack_ms.p50 or 0.0 for run in runs]),
        ack_p99_ms=Spread.of([run.ack_ms.p99 or 0.0 for run in runs]),
        cpu_us=spreads([run.cpu_us for run in runs]),
    )

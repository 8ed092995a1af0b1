"""Cost of a row: the sink process reads full topics into PostgreSQL, as after an outage.

Topics are filled while no sink runs; then the process is started and watched to the end of its topics. The
rows are counted by id before a figure is printed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.load.filling import as_received, fill
from benchmarks.load.scene import Scene
from benchmarks.measure.checks import CheckFailed, wait_until
from benchmarks.measure.cpu import CpuClock, between
from benchmarks.measure.deployment import Log, prepared, processes
from benchmarks.measure.figures import Spread, spreads
from benchmarks.measure.machine import Measured, begin
from benchmarks.plans import Sink
from ops.locate import Deployment
from pipeline.topology.loader import load
from schemas.codec import codec
from schemas.records import Outcome
from sinks.postgres import offsets
from sinks.postgres.connect import connect

DRAIN_TIMEOUT_S = 600.0
SKIPPED_RATIO = 0.2  # of the records: read while the process and its statements warm up
COUNTED = ("postgres-sink", "postgres", "kafka")


class Result(Measured, frozen=True, kw_only=True):
    """A row is one of a completion or of a verdict; each round has `plan.records` of both."""

    plan: Sink
    rows_checked: int
    rows_per_s: Spread
    cpu_us_per_row: dict[str, Spread]


def measure(plan: Sink, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head, records = begin("sink"), plan.records
    rates: list[float] = []
    cpu_us: list[dict[str, float]] = []
    scene = Scene(secrets.token_hex(3), matching_percent=0, numbers=0)
    with prepared(log, plan.port_base) as found:
        for turn in range(plan.rounds):
            log(f"round {turn + 1} of {plan.rounds}: {records:,} completions and as many verdicts")
            numbers = range(turn * records, (turn + 1) * records)
            fill(found.settings.kafka_bootstrap_servers, _records(found, scene, numbers))
            per_s, used_us = _run(found, records, turn)
            rates.append(per_s)
            cpu_us.append(used_us)
            _check(found, records * (turn + 1))
    return Result(
        **head,
        plan=plan,
        rows_checked=2 * records * plan.rounds,
        rows_per_s=Spread.of(rates),
        cpu_us_per_row=spreads(cpu_us),
    )


def _records(found: Deployment, scene: Scene, numbers: range) -> Iterator[tuple[str, bytes, bytes]]:
    completions, outcomes = found.topology.topic("completions").name, found.topology.topic("outcomes").name
    encode, encode_outcome = codec("completion").encode, codec("outcome").encode
    for one in as_received(scene, numbers, found.settings.contact_key, int(time.time() * 1000)):
        outcome = Outcome(
            completion_id=one.completion_id,
            tenant_id=one.tenant_id,
            quiz_id=one.quiz_id,
            contact_id=one.contact_id,
            day=one.day,
            accepted_at=one.accepted_at,
            verdict="unmatched",
            source_partition=0,
            source_offset=0,
        )
        key = one.contact_id.encode()
        yield completions, key, encode(one)
        yield outcomes, key, encode_outcome(outcome)


def _run(found: Deployment, count: int, turn: int) -> tuple[float, dict[str, float]]:
    """Rows a second, and CPU microseconds of a row by process."""
    # A round's rows come after the last's; their cost must not.
    found = replace(found, topology=load(found.settings.topology_file, found.settings.topic_namespace))
    first, last = 2 * count * turn + int(2 * count * SKIPPED_RATIO), 2 * count * (turn + 1)
    with processes(found, ["postgres-sink"]):
        cpu = CpuClock(found)
        began_at, began = _once_passed(found, first), time.perf_counter()
        before = cpu.read()
        ended_at, ended = _once_passed(found, last), time.perf_counter()
        used = between(before, cpu.read())
    rows = ended_at - began_at
    if not rows:
        raise CheckFailed(f"{count:,} records are too few: they were all read at once")
    return rows / (ended - began), {name: 1e6 * used.get(name, 0.0) / rows for name in COUNTED}


def _once_passed(found: Deployment, wanted: int) -> int:
    """Waits until both sinks together have passed so many records; returns their number by then."""
    sinks = [found.topology.sink(name) for name in ("completions", "outcomes")]
    with connect(found.settings.database_url, "bench sink") as connection:

        def passed() -> int:
            return sum(sum(offsets.read(connection, s.name, s.source.name).values()) for s in sinks)

        wait_until(lambda: passed() >= wanted, DRAIN_TIMEOUT_S, lambda: f"{wanted:,} records were not passed")
        return passed()


def _check(found: Deployment, wanted: int) -> None:
    with connect(found.settings.database_url, "bench sink") as connection:
        for query in (
            "SELECT count(*), count(DISTINCT completion_id) FROM completions",
            "SELECT count(*), count(DISTINCT completion_id) FROM outcomes",
        ):
            row = connection.execute(query).fetchone()
            if row != (wanted, wanted):
                raise CheckFailed(f"{query}: {row}, expected {wanted:,} twice")

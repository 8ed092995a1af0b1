"""What a row costs: the real sink process reads a full topic into Postgres, as after an outage.

Topics are filled while no sink runs; then the process is started and watched to the end of its topics. The
rows are counted by id before a figure is printed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import msgspec

from benchmarks.cpu import CpuClock, between
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Spread, Wrong, running, servers
from benchmarks.questionnaire import ANSWER_SETS, Questionnaire, Wire
from benchmarks.subject import Tell
from ops.embedded.home import Home
from ops.locate import Deployment
from pipeline.runtime.kafka_clients import idempotent_producer
from pipeline.topology.loader import load
from schemas import ids
from schemas.codec import codec
from schemas.records import Answer, Completion, Outcome, Personal
from sinks.postgres import offsets
from sinks.postgres.connect import connect

RECORDS = 100_000
DRAIN_TIMEOUT_S = 600.0
LOOK_EVERY_S = 0.05
SKIPPED_RATIO = 0.2  # of the records: what is read while the process and its statements warm up
COUNTED = ("postgres-sink", "postgres", "kafka")


class Run(msgspec.Struct, frozen=True):
    rows_per_s: float
    cpu_us: dict[str, float]


class Result(msgspec.Struct, frozen=True):
    """`records`: completions of a round, each with its verdict; a row is one of either."""

    kind: str
    at: str
    commit: str
    machine: Machine
    records: int
    rounds: int
    rows_checked: int
    rows_per_s: Spread
    cpu_us_per_row: dict[str, Spread]


def measure(records: int, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises Wrong, CannotStart."""
    described, began = machine(), now()
    runs: list[Run] = []
    with servers(tell, port_base) as found:
        for turn in range(rounds):
            tell(f"turn {turn + 1} of {rounds}: {records:,} completions and as many verdicts")
            _fill(found, records, turn)
            runs.append(_run(found, records, turn))
            _check(found, records * (turn + 1))
    return Result(
        kind="sink",
        at=began,
        commit=commit(),
        machine=described,
        records=records,
        rounds=rounds,
        rows_checked=2 * records * rounds,
        rows_per_s=Spread.of([run.rows_per_s for run in runs]),
        cpu_us_per_row={name: Spread.of([run.cpu_us[name] for run in runs]) for name in COUNTED},
    )


def events(first: int, count: int) -> Iterator[tuple[Completion, Outcome]]:
    """Completions of as many people, of this moment, and their verdicts."""
    wire = Wire(Questionnaire("bench", 0), "", "")
    answers: list[dict[str, Answer]] = [
        msgspec.json.decode(wire.body(number))["answers"] for number in range(ANSWER_SETS)
    ]
    at_ms = int(time.time() * 1000)
    for number in range(first, first + count):
        completion = Completion(
            completion_id=str(UUID(int=number)),
            tenant_id="bench",
            quiz_id="bench",
            quiz_version=1,
            contact_id=f"{number:032x}",
            day=ids.day_of(at_ms),
            submitted_at=at_ms,
            accepted_at=at_ms,
            answers=answers[number % ANSWER_SETS],
            personal=Personal(phone=f"+5511{900_000_000 + number % 90_000_000}"),
        )
        outcome = Outcome(
            completion_id=completion.completion_id,
            tenant_id=completion.tenant_id,
            quiz_id=completion.quiz_id,
            contact_id=completion.contact_id,
            day=completion.day,
            accepted_at=at_ms,
            verdict="unmatched",
            source_partition=0,
            source_offset=number,
            reason="",
            campaigns=[],
        )
        yield completion, outcome


def _fill(found: Deployment, count: int, turn: int) -> None:
    producer = idempotent_producer(
        found.settings.kafka_bootstrap_servers,
        "quizstream-bench",
        record_bytes_max=found.topology.record_bytes_max,
        linger_ms=20,
        delivery_timeout_ms=300_000,
        queue_records_max=1_000_000,
    )
    raw, outcomes = found.topology.topic("completions"), found.topology.topic("outcomes")
    encode, encode_outcome = codec("completion").encode, codec("outcome").encode
    for completion, outcome in events(turn * count, count):
        key = completion.contact_id.encode()
        producer.produce(raw.name, encode(completion), key)
        producer.produce(outcomes.name, encode_outcome(outcome), key)
        producer.poll(0)
    if producer.flush(60.0):
        raise Wrong("not every record was acknowledged")


def _run(found: Deployment, count: int, turn: int) -> Run:
    # A round's rows come after the last's; what they cost must not.
    found = replace(found, topology=load(found.settings.topology_file, found.settings.topic_namespace))
    begin, end = 2 * count * turn + int(2 * count * SKIPPED_RATIO), 2 * count * (turn + 1)
    with running(found, ["postgres-sink"]):
        cpu = CpuClock(Home(found.settings.home))
        began_at, began = _once_passed(found, begin), time.perf_counter()
        before = cpu.read()
        ended_at, ended = _once_passed(found, end), time.perf_counter()
        used = between(before, cpu.read())
    rows = ended_at - began_at
    return Run(rows / (ended - began), {name: 1e6 * used.get(name, 0.0) / rows for name in COUNTED})


def _once_passed(found: Deployment, wanted: int) -> int:
    """Waits until both sinks together have passed so many records; returns how many they had then."""
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    sinks = [found.topology.sink(name) for name in ("completions", "outcomes")]
    with connect(found.settings.database_url, "bench sink") as connection:
        while time.monotonic() < deadline_s:
            passed = sum(
                sum(offsets.read(connection, sink.name, sink.source.name).values()) for sink in sinks
            )
            if passed >= wanted:
                return passed
            time.sleep(LOOK_EVERY_S)
    raise Wrong(f"{wanted:,} records were not passed in {DRAIN_TIMEOUT_S:.0f} s")


def _check(found: Deployment, wanted: int) -> None:
    with connect(found.settings.database_url, "bench sink") as connection:
        for query in (
            "SELECT count(*), count(DISTINCT completion_id) FROM completions",
            "SELECT count(*), count(DISTINCT completion_id) FROM outcomes",
        ):
            row = connection.execute(query).fetchone()
            if row != (wanted, wanted):
                raise Wrong(f"{query}: {row}, not {wanted:,} twice")

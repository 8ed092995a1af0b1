"""A backlog: the worker and the sink are stopped while a topic fills, and then have it all before them.

Completions are written to the topic as the edge writes them, not over HTTP: the way from there is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from benchmarks.cpu import CpuClock, between
from benchmarks.e2e import ACTIVATION_MARGIN_S, ARCHIVE, VERDICTS
from benchmarks.load import sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Wrong, running, servers
from benchmarks.questionnaire import ANSWER_SETS, Wire
from benchmarks.scene import Scene, plant
from benchmarks.shapes import close_books
from benchmarks.subject import Tell
from benchmarks.visibility import Positions, PositionWatch
from ops.audit.settle import settle
from ops.demo.phones import demo_phone
from ops.embedded.home import Home
from ops.locate import Deployment
from ops.processes import table
from pipeline.runtime.kafka_clients import idempotent_producer
from schemas import ids
from schemas.codec import codec
from schemas.records import Answer, Completion, Personal

STOPPED = ("worker", "postgres-sink")
NUMBERS_FOR_PER_S = 5_000.0  # numbers are leased for the messages of so many completions a second
FACTS_TIMEOUT_S = 60.0
DRAIN_PER_S_MIN = 300.0  # slower than this is given up
TIMEOUT_S_MIN = 180.0
LOOK_EVERY_S = 0.2
TELL_EVERY_S = 10.0
PROGRESS_POINTS = 20


class Progress(msgspec.Struct, frozen=True):
    """Seconds since the processes were started again, and what was visible in Postgres by then."""

    at_s: float
    rows: int
    verdicts: int


class Result(msgspec.Struct, frozen=True):
    """All seconds are since the worker and the sink were started again, their start included.

    `drained_s`: every row and every verdict visible in Postgres, and what rates and CPU are of. `settled_s`:
    every message called, its status told, nothing left to publish. `cpu_s` by process until `drained_s`.
    """

    kind: str
    at: str
    commit: str
    machine: Machine
    records: int
    matching_percent: int
    messages: int
    lost: int
    twice: int
    rows_s: float
    verdicts_s: float
    drained_s: float
    settled_s: float
    drained_per_s: float
    cpu_s: dict[str, float]
    cpu_us_per_completion: float
    progress: list[Progress]


def measure(records: int, matching_percent: int, port_base: int, tell: Tell) -> Result:
    """On servers of its own. Raises Wrong, CannotStart."""
    described, began = machine(), now()
    timeout_s = max(TIMEOUT_S_MIN, records / DRAIN_PER_S_MIN)
    with servers(tell, port_base) as found, running(found, table.NAMES) as supervisor:
        scene = Scene.fresh(found, NUMBERS_FOR_PER_S, matching_percent)
        effective_at_ms = plant(found, scene)
        if moving := settle(found, FACTS_TIMEOUT_S):
            raise Wrong(f"the campaign was not published: {moving}")
        sleep_until(effective_at_ms / 1000 + ACTIVATION_MARGIN_S)
        for name in STOPPED:
            supervisor.pause(name)
        tell(f"{' and '.join(STOPPED)} are stopped; filling the topic with {records:,} completions")
        accepted = fill(found, scene, records)

        watch = PositionWatch(found.settings.database_url, [ARCHIVE, VERDICTS])
        watch.start()
        cpu = CpuClock(Home(found.settings.home))
        before, started_at = cpu.read(), time.time()
        for name in STOPPED:
            supervisor.resume(name)
        _until_drained(watch.positions, records, started_at, timeout_s, tell)
        used, drained_at = between(before, cpu.read()), time.time()
        books = close_books(found, accepted, timeout_s, tell)
        settled_at = time.time()
        positions = watch.stop()
    if books.accepted != records:
        raise Wrong(f"{books.accepted:,} completions were found, not {records:,}")
    rows_s, verdicts_s = (
        _passed_s(positions, sink, records, started_at, drained_at) for sink in (ARCHIVE, VERDICTS)
    )
    drained_s = max(rows_s, verdicts_s)
    return Result(
        kind="shape-backlog",
        at=began,
        commit=commit(),
        machine=described,
        records=records,
        matching_percent=matching_percent,
        messages=books.messages,
        lost=0,
        twice=0,
        rows_s=round(rows_s, 1),
        verdicts_s=round(verdicts_s, 1),
        drained_s=round(drained_s, 1),
        settled_s=round(settled_at - started_at, 1),
        drained_per_s=round(records / drained_s, 1),
        cpu_s=used,
        cpu_us_per_completion=round(1e6 * sum(used.values()) / records, 1),
        progress=_progress(positions, started_at, drained_s),
    )


def fill(found: Deployment, scene: Scene, records: int) -> list[str]:
    """Returns the ids, all acknowledged. Raises Wrong."""
    producer = idempotent_producer(
        found.settings.kafka_bootstrap_servers,
        "quizstream-bench",
        record_bytes_max=found.topology.record_bytes_max,
        linger_ms=20,
        delivery_timeout_ms=300_000,
    )
    topic, encode = found.topology.topic("completions").name, codec("completion").encode
    accepted = []
    for completion in completions(scene, records, found.settings.contact_key, int(time.time() * 1000)):
        accepted.append(completion.completion_id)
        key, value = completion.contact_id.encode(), encode(completion)
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    if left := producer.flush(60.0):
        raise Wrong(f"{left:,} completions were not acknowledged")
    return accepted


def completions(scene: Scene, records: int, contact_key: bytes, at_ms: int) -> Iterator[Completion]:
    """As the edge makes them of the requests of `bench e2e`: each by another person, at one moment."""
    quiz = scene.questionnaire
    wire = Wire(quiz, "", "")
    answers: dict[tuple[bool, int], dict[str, Answer]] = {}
    for number in range(records):
        of = (quiz.matches(number), number % ANSWER_SETS)
        if of not in answers:
            answers[of] = msgspec.json.decode(wire.body(number))["answers"]
        phone = demo_phone(quiz.quiz_id, number)
        contact = ids.contact_id(contact_key, scene.tenant_id, phone)
        yield Completion(
            completion_id=ids.completion_id(scene.tenant_id, quiz.quiz_id, str(number), contact),
            tenant_id=scene.tenant_id,
            quiz_id=quiz.quiz_id,
            quiz_version=1,
            contact_id=contact,
            day=ids.day_of(at_ms),
            submitted_at=at_ms,
            accepted_at=at_ms,
            answers=answers[of],
            personal=Personal(phone=phone),
        )


def _until_drained(
    positions: Positions, records: int, started_at: float, timeout_s: float, tell: Tell
) -> None:
    told_s = time.monotonic()
    while (drained := _drained(positions, time.time())) < records:
        time.sleep(LOOK_EVERY_S)
        waited_s = time.time() - started_at
        if waited_s > timeout_s:
            raise Wrong(f"{drained:,} of {records:,} completions were drained in {timeout_s:.0f} s")
        if time.monotonic() - told_s >= TELL_EVERY_S:
            told_s = time.monotonic()
            tell(f"{drained:,} of {records:,} drained after {waited_s:.0f} s")


def _drained(positions: Positions, at: float) -> int:
    return min(positions.passed_by(sink, at) for sink in (ARCHIVE, VERDICTS))


def _passed_s(positions: Positions, sink: str, records: int, begin: float, end: float) -> float:
    """Seconds from `begin` until the sink had passed so many: found by halving, positions only rise."""
    low, high = begin, end
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if positions.passed_by(sink, middle) >= records else (middle, high)
    return high - begin


def _progress(positions: Positions, started_at: float, drained_s: float) -> list[Progress]:
    points = []
    for step in range(1, PROGRESS_POINTS + 1):
        at_s = drained_s * step / PROGRESS_POINTS
        rows, verdicts = (positions.passed_by(sink, started_at + at_s) for sink in (ARCHIVE, VERDICTS))
        points.append(Progress(round(at_s, 1), rows, verdicts))
    return points


def text(r: Result) -> str:
    lines = [
        f"{r.records:,} completions waited, {r.matching_percent} % match; lost {r.lost}, twice {r.twice}",
        f"drained in {r.drained_s:,} s, {r.drained_per_s:,}/s (rows {r.rows_s:,} s, verdicts "
        f"{r.verdicts_s:,} s), all {r.messages:,} messages told of after {r.settled_s:,} s",
        f"CPU {r.cpu_us_per_completion:,} us a completion until then:",
        *(f"  {name:20} {cpu_s:8.2f} s" for name, cpu_s in r.cpu_s.items()),
    ]
    return "\n".join(lines)

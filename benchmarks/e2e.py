"""One completion's whole journey under a constant load, from a request that is due to the provider's call.

Everything is measured from outside of the pipeline: answers at the generator, rows by a database session of
its own, calls by the provider's record. The ledger is reconciled first, with the ids that the generator was
told; where anything was lost or done twice, there are no numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from benchmarks.backlog import BacklogWatch, Look, growth_per_s
from benchmarks.cpu import CpuClock, between
from benchmarks.load import Generation, Requests, sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.percentiles import Percentiles, percentiles_ms
from benchmarks.scene import Scene, plant
from benchmarks.visibility import Positions, PositionWatch
from ops.audit.ledger_audit import Breach, Report
from ops.audit.provider_record import ProviderRecord, attempt_of
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.embedded.home import Home
from ops.locate import Deployment
from pipeline.runtime.topic_reader import TopicScan
from schemas.codec import codec
from sinks.postgres.connect import connect

# The brokers' compiler takes a third of a core for most of a minute after their start.
WARM_UP_S = 60.0
ACTIVATION_MARGIN_S = 0.5
DRAIN_TIMEOUT_S = 300.0
ARCHIVE, VERDICTS = "completions", "outcomes"  # sinks
ACK_P99_MS_MAX = 50.0
POSTGRES_P99_MS_MAX = 1000.0
PROVIDER_P99_MS_MAX = 2000.0
GROWTH_RATIO_MAX = 0.01  # of the offered rate: a backlog that grows slower is flat

Tell = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    rate_per_s: float
    seconds: float
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S

    @property
    def warm_up_requests(self) -> int:
        return int(self.rate_per_s * self.warm_up_s)

    @property
    def requests(self) -> int:
        return self.warm_up_requests + int(self.rate_per_s * self.seconds)


class Result(msgspec.Struct, frozen=True):
    """All rates, latencies and CPU seconds are of the `seconds` after the warm-up.

    `ack_ms`, `to_postgres_ms` and `to_provider_ms` count from when the request was due. `drained_per_s`:
    completions whose row and verdict both became visible in Postgres, and what CPU seconds are divided by.
    `lost` and `twice` are the reconciliation's, of every request, with the ids that clients were told.
    """

    kind: str
    at: str
    commit: str
    machine: Machine
    plan: Plan
    offered_per_s: float
    accepted_per_s: float
    drained_per_s: float
    calls_per_s: float
    ack_ms: Percentiles
    to_postgres_ms: Percentiles
    to_verdict_row_ms: Percentiles
    to_provider_ms: Percentiles
    lost: int
    twice: int
    retries: int
    cpu_s: dict[str, float]
    cpu_us_per_completion: float
    cores_used: float
    backlog_end: int
    backlog_end_by_reader: dict[str, int]
    backlog_max: int
    backlog_growth_per_s: float | None
    targets: dict[str, bool]


class Fell(msgspec.Struct, frozen=True):
    """No numbers: the ledger does not hold, or requests were not accepted."""

    lost: int
    twice: int
    refused: int
    unanswered: int
    problems: list[str]
    breaches: list[Breach]


def measure(found: Deployment, plan: Plan, accepted_out: Path | None, tell: Tell) -> Result | Fell:
    """On a deployment that runs. Raises LoadBroken, and what the servers' clients raise."""
    described, began = machine(), now()
    scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
    effective_at_ms = plant(found, scene)
    sleep_until(effective_at_ms / 1000 + ACTIVATION_MARGIN_S)

    positions = PositionWatch(found.settings.database_url, [ARCHIVE, VERDICTS])
    backlog = BacklogWatch(found)
    positions.start()
    generation = Generation(found, scene, plan.rate_per_s, plan.requests)
    try:
        tell(f"load: {plan.rate_per_s:g}/s, {plan.warm_up_s:g} s to warm up, then {plan.seconds:g} s")
        measured_at = generation.begun_at + plan.warm_up_s
        cpu = CpuClock(Home(found.settings.home), {"generator": generation.pid})
        sleep_until(measured_at)
        backlog.start()
        cpu_before = cpu.read()
        sleep_until(measured_at + plan.seconds)
        cpu_after = cpu.read()
        looks = backlog.stop()
        requests = generation.end()
    finally:
        generation.abandon()
    tell("the load is over; waiting until nothing moves")
    moving = settle(found, DRAIN_TIMEOUT_S, tell)
    seen = positions.stop()
    accepted_file = accepted_out or found.settings.home / f"accepted-{scene.run}.txt"
    with accepted_file.open("w", encoding="ascii") as file:
        file.writelines(f"{completion_id}\n" for _, completion_id in requests.ids())
    tell("closing the books")
    report = reconcile(found, accepted_file, wait_s=0.0 if moving else None)
    fell = _fell(report, requests)
    if fell is not None:
        return fell
    tell("reading when what was where")
    return _result(
        found,
        plan,
        requests,
        Evidence(began, described, seen, looks, between(cpu_before, cpu_after), report),
    )


class Evidence(msgspec.Struct, frozen=True):
    at: str
    machine: Machine
    positions: Positions
    looks: list[Look]
    cpu_s: dict[str, float]
    report: Report


def _fell(report: Report, requests: Requests) -> Fell | None:
    told = requests.told
    if report.ok and not requests.unanswered and not told.refused:
        return None
    lost = report.missing
    return Fell(lost, report.twice, told.refused, requests.unanswered, told.problems, report.breaches)


def _result(found: Deployment, plan: Plan, requests: Requests, evidence: Evidence) -> Result:
    told = requests.told
    first, end = plan.warm_up_requests, plan.requests
    begin_s, end_s = plan.warm_up_s, plan.warm_up_s + plan.seconds
    numbers = {UUID(completion_id).bytes: number for number, completion_id in requests.ids()}
    archive_s, verdict_s = _until_visible(found, requests, numbers, first, end, evidence.positions)
    calls = _calls(found, numbers)
    provider_s = [at - told.intended_at(number) for number, at in calls.items() if first <= number < end]
    called = sum(begin_s <= at - told.begun_at < end_s for at in calls.values())
    drained = min(
        evidence.positions.passed_by(sink, told.begun_at + end_s)
        - evidence.positions.passed_by(sink, told.begun_at + begin_s)
        for sink in (ARCHIVE, VERDICTS)
    )
    accepted = requests.answered_between(first, end, begin_s, end_s)
    ack, archive = percentiles_ms(requests.latencies_s(first, end)), percentiles_ms(archive_s)
    provider = percentiles_ms(provider_s)
    growth = growth_per_s(evidence.looks)
    cpu_s = sum(evidence.cpu_s.values())
    last = evidence.looks[-1]
    return Result(
        kind="e2e",
        at=evidence.at,
        commit=commit(),
        machine=evidence.machine,
        plan=plan,
        offered_per_s=round((end - first) / plan.seconds, 1),
        accepted_per_s=round(accepted / plan.seconds, 1),
        drained_per_s=round(drained / plan.seconds, 1),
        calls_per_s=round(called / plan.seconds, 1),
        ack_ms=ack,
        to_postgres_ms=archive,
        to_verdict_row_ms=percentiles_ms(verdict_s),
        to_provider_ms=provider,
        lost=evidence.report.missing,
        twice=evidence.report.twice,
        retries=told.retries,
        cpu_s=evidence.cpu_s,
        cpu_us_per_completion=round(1e6 * cpu_s / max(1, drained), 1),
        cores_used=round(cpu_s / plan.seconds, 2),
        backlog_end=last.total,
        backlog_end_by_reader=last.waiting,
        backlog_max=max(look.total for look in evidence.looks),
        backlog_growth_per_s=growth,
        targets={
            f"ack p99 <= {ACK_P99_MS_MAX:g} ms": _within(ack, ACK_P99_MS_MAX),
            f"visible in Postgres p99 <= {POSTGRES_P99_MS_MAX:g} ms": _within(archive, POSTGRES_P99_MS_MAX),
            f"provider called p99 <= {PROVIDER_P99_MS_MAX:g} ms": _within(provider, PROVIDER_P99_MS_MAX),
            "backlog flat": growth is None or growth <= GROWTH_RATIO_MAX * plan.rate_per_s,
        },
    )


def _within(measured: Percentiles, p99_ms_max: float) -> bool:
    return measured.p99 is None or measured.p99 <= p99_ms_max


def _until_visible(
    found: Deployment,
    requests: Requests,
    numbers: dict[bytes, int],
    first: int,
    end: int,
    positions: Positions,
) -> tuple[list[float], list[float]]:
    """Seconds from when each measured request was due to its row, and to its verdict's row."""
    bootstrap = found.settings.kafka_bootstrap_servers
    both: list[list[float]] = []
    for role, sink in (("completions", ARCHIVE), ("outcomes", VERDICTS)):
        decode = codec("completion" if role == "completions" else "outcome").decode
        seen: dict[int, float] = {}
        for record in TopicScan(bootstrap, found.topology.topic(role)).records():
            number = numbers.get(UUID(decode(record.value).completion_id).bytes, -1)
            at = positions.visible_at(sink, record.partition, record.offset)
            if first <= number < end and number not in seen and at is not None:
                seen[number] = at - requests.told.intended_at(number)
        both.append(list(seen.values()))
    return both[0], both[1]


def _calls(found: Deployment, numbers: dict[bytes, int]) -> dict[int, float]:
    """Number of request -> when the provider wrote down its first call, seconds since the epoch."""
    query = (
        "SELECT uuid_send(a.attempt_id), uuid_send(d.completion_id) "
        "FROM delivery_attempts a JOIN deliveries d USING (delivery_id)"
    )
    with connect(found.settings.database_url, "bench calls") as connection:
        of_attempt = {bytes(attempt): bytes(one) for attempt, one in connection.execute(query)}  # type: ignore[call-overload]
    called: dict[int, float] = {}
    for call in ProviderRecord(found.settings).more():
        completion = of_attempt.get(attempt_of(call) or b"")
        number = None if completion is None else numbers.get(completion)
        if number is not None:
            called.setdefault(number, call.at)
    return called

"""One completion's whole journey under a constant load, from the due request to the provider's call.

All is measured from outside of the pipeline: answers at the generator, rows by a database session of its own,
calls by the provider's record. Ids are reconciled first: no figures where one was lost or sent twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from benchmarks.load.generation import Generation, Requests
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.cpu import CpuClock, sleep_until
from benchmarks.measure.deployment import Log, whole
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import events_of
from benchmarks.measure.watch import ARCHIVE, VERDICTS, BacklogWatch, Offsets, OffsetWatch, growth_per_s
from benchmarks.plans import E2e
from ops.audit.provider_record import ProviderRecord, attempt_of
from ops.locate import Deployment
from sinks.postgres.connect import connect

ACK_P99_MS_MAX = 50.0
POSTGRES_P99_MS_MAX = 1000.0
PROVIDER_P99_MS_MAX = 2000.0
GROWTH_RATIO_MAX = 0.01  # of the offered rate: a backlog that grows slower is flat


class Result(Measured, frozen=True, kw_only=True):
    """All rates, latencies and CPU seconds are of the `seconds` after the warm-up.

    - `ack_ms`, `to_postgres_ms`, `to_verdict_row_ms`, `to_provider_ms` count from when the request was due.
    - `drained_per_s`: completions whose row and verdict both became visible; CPU is divided by it.
    - `lost`, `twice`: the reconciliation's, of every request, with the ids that clients received.
    """

    plan: E2e
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


def measure(plan: E2e, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("e2e")
    with whole(log, plan.port_base, plan.keep) as found:
        return _measure(head, found, plan, log)


def _measure(head: dict[str, Any], found: Deployment, plan: E2e, log: Log) -> Result:
    scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
    plant(found, scene)
    watch = OffsetWatch(found)
    with Generation(found, scene, Constant.of(plan.rate_per_s, plan.warm_up_s + plan.seconds)) as generation:
        log(f"load: {plan.rate_per_s:g}/s, {plan.warm_up_s:g} s to warm up, then {plan.seconds:g} s")
        began_at = generation.begun_at + plan.warm_up_s
        ended_at = began_at + plan.seconds
        sleep_until(began_at)
        backlog = BacklogWatch(found)
        used = CpuClock(found, {"generator": generation.pid}).during(began_at, ended_at)
        waiting = backlog.stop()
        requests = generation.end()
    report = audit(found, requests.accepted(), log)
    require_answered(requests)
    seen = watch.stop()
    log("reading when each record was where")
    numbers = {UUID(completion_id).bytes: number for number, completion_id in requests.ids()}
    due = frozenset(requests.due_in(began_at, ended_at))
    calls = _calls(found, numbers)
    drained, cpu_s = seen.drained(began_at, ended_at), sum(used.values())
    ack = percentiles_ms(requests.latencies_s(began_at, ended_at))
    row, verdict = (
        percentiles_ms(_until_visible(found, requests, numbers, due, seen, role, sink))
        for role, sink in (("completions", ARCHIVE), ("outcomes", VERDICTS))
    )
    called = percentiles_ms([at - requests.due_at(number) for number, at in calls.items() if number in due])
    growth = growth_per_s(waiting)
    return Result(
        **head,
        plan=plan,
        offered_per_s=round(len(due) / plan.seconds, 1),
        accepted_per_s=round(requests.accepted_in(began_at, ended_at) / plan.seconds, 1),
        drained_per_s=round(drained / plan.seconds, 1),
        calls_per_s=round(sum(began_at <= at < ended_at for at in calls.values()) / plan.seconds, 1),
        ack_ms=ack,
        to_postgres_ms=row,
        to_verdict_row_ms=verdict,
        to_provider_ms=called,
        lost=report.missing,
        twice=report.twice,
        retries=requests.result.retries,
        cpu_s=used,
        cpu_us_per_completion=round(1e6 * cpu_s / max(1, drained), 1),
        cores_used=round(cpu_s / plan.seconds, 2),
        backlog_end=waiting[-1].total,
        backlog_end_by_reader=waiting[-1].waiting,
        backlog_max=max(look.total for look in waiting),
        backlog_growth_per_s=growth,
        targets={
            f"ack p99 <= {ACK_P99_MS_MAX:g} ms": _within(ack, ACK_P99_MS_MAX),
            f"visible in Postgres p99 <= {POSTGRES_P99_MS_MAX:g} ms": _within(row, POSTGRES_P99_MS_MAX),
            f"provider called p99 <= {PROVIDER_P99_MS_MAX:g} ms": _within(called, PROVIDER_P99_MS_MAX),
            "backlog flat": growth is None or growth <= GROWTH_RATIO_MAX * plan.rate_per_s,
        },
    )


def _within(measured: Percentiles, p99_ms_max: float) -> bool:
    return measured.p99 is None or measured.p99 <= p99_ms_max


def _until_visible(
    found: Deployment,
    requests: Requests,
    numbers: Mapping[bytes, int],
    due: frozenset[int],
    seen: Offsets,
    role: str,
    sink: str,
) -> list[float]:
    """Seconds from when each measured request was due until its record in the topic was a visible row."""
    first: dict[int, float] = {}
    for record, event in events_of(found, role):
        number = numbers.get(UUID(event.completion_id).bytes, -1)
        at = seen.visible_at(sink, record.partition, record.offset)
        if number in due and number not in first and at is not None:
            first[number] = at - requests.due_at(number)
    return list(first.values())


def _calls(found: Deployment, numbers: Mapping[bytes, int]) -> dict[int, float]:
    """Number of request -> when the provider recorded its first call, seconds since the epoch."""
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

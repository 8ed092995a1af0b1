"""One side's turn of the whole journey: the same load, watched and counted in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from benchmarks.load.generation import Generation, Requests
from benchmarks.load.generator import Constant
from benchmarks.load.questionnaire import Questionnaire
from benchmarks.load.scene import Scene
from benchmarks.measure.checks import EXAMPLES_MAX, CheckFailed
from benchmarks.measure.cpu import CpuClock, between, sleep_until
from benchmarks.measure.deployment import Log
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.plans import Peers
from ops.audit.provider_record import Call, ProviderRecord
from ops.chaos.provider import Provider
from ops.demo.phones import ROWS_MAX, demo_phone
from ops.locate import Deployment

EMPTY_TIMEOUT_S = 600.0


class Judged(msgspec.Struct, frozen=True):
    """Verdicts in PostgreSQL: by completion (16 bytes), since when it is visible; those that matched."""

    seen_at: dict[bytes, float]
    matched: set[bytes]


class Side(Protocol):
    """A system that takes completions over HTTP; it runs, and the scene is in place."""

    found: Deployment
    scene: Scene

    def cpu(self, generator_pid: int) -> CpuClock:
        """Of all its processes and the generator."""
        ...

    def wait_empty(self, timeout_s: float) -> None:
        """Returns once nothing is left to do. Raises CheckFailed."""
        ...

    def judged(self) -> Judged:
        """Called once, at the end."""
        ...


class Turn(msgspec.Struct, frozen=True):
    """Rates are of the measured seconds; CPU is from the warm-up's end until all was done.

    - `ack_ms`: of the requests that were due in these seconds and were answered.
    - `unanswered`: had no answer a minute after the load.
    - `drained_per_s`: verdicts that became visible in PostgreSQL.
    - `drained_to_empty_per_s`: all completions, from the first request to the last verdict or call.
    - `emptied_s`: from the end of the load to the last verdict or call.
    """

    offered_per_s: float
    accepted_per_s: float
    drained_per_s: float
    drained_to_empty_per_s: float
    emptied_s: float
    ack_ms: Percentiles
    completions: int
    calls: int
    calls_refused: int
    unanswered: int
    retries: int
    cpu_s: dict[str, float]
    cpu_us_per_completion: float


def take(side: Side, plan: Peers, log: Log) -> Turn:
    """Raises CheckFailed where a verdict is missing or wrong, or a match was not called once; LoadBroken."""
    Provider(side.found.settings.simulator_url).behave(webhooks=False)
    pace = Constant.of(plan.rate_per_s, plan.warm_up_s + plan.seconds)
    with Generation(side.found, side.scene, pace) as generation:
        log(f"load: {plan.rate_per_s:g}/s, {plan.warm_up_s:g} s to warm up, then {plan.seconds:g} s")
        measured_at = generation.begun_at + plan.warm_up_s
        cpu = side.cpu(generation.pid)
        sleep_until(measured_at)
        before = cpu.read()
        sleep_until(measured_at + plan.seconds)
        during = cpu.read()
        requests = generation.end()
    log("the load is over; waiting until nothing is left to do")
    side.wait_empty(EMPTY_TIMEOUT_S)
    # The generator has ended: its last reading stands.
    after = {**during, **cpu.read()}
    after["generator"] = max(after.get("generator", 0.0), during.get("generator", 0.0))
    judged = side.judged()
    calls = list(ProviderRecord(side.found.settings).more())
    check(requests, side.scene, judged, calls)
    return turn_of(plan, requests, judged, calls, measured_at, between(before, after))


def turn_of(
    plan: Peers,
    requests: Requests,
    judged: Judged,
    calls: Sequence[Call],
    measured_at: float,
    cpu_s: dict[str, float],
) -> Turn:
    load_end_at = measured_at + plan.seconds
    taken_at = [call.at for call in calls if call.wamid is not None]
    last_at = max([*judged.seen_at.values(), *taken_at])
    drained = sum(measured_at <= at < load_end_at for at in judged.seen_at.values())
    of_cpu = sum(at >= measured_at for at in judged.seen_at.values())
    to_empty_s = last_at - requests.result.begun_at
    return Turn(
        offered_per_s=round(len(requests.due_in(measured_at, load_end_at)) / plan.seconds, 1),
        accepted_per_s=round(requests.accepted_in(measured_at, load_end_at) / plan.seconds, 1),
        drained_per_s=round(drained / plan.seconds, 1),
        drained_to_empty_per_s=round(len(judged.seen_at) / to_empty_s, 1),
        emptied_s=round(max(0.0, last_at - load_end_at), 2),
        ack_ms=percentiles_ms(requests.latencies_s(measured_at, load_end_at)),
        completions=len(judged.seen_at),
        calls=len(taken_at),
        calls_refused=len(calls) - len(taken_at),
        unanswered=requests.unanswered,
        retries=requests.result.retries,
        cpu_s=cpu_s,
        cpu_us_per_completion=round(1e6 * sum(cpu_s.values()) / max(1, of_cpu), 1),
    )


def check(requests: Requests, scene: Scene, judged: Judged, calls: Sequence[Call]) -> None:
    """By id: every 202 has its verdict, the right one; every match was called once, no other contact was."""
    result = requests.result
    if result.refused:
        raise CheckFailed(f"{result.refused:,} requests were rejected: {result.problems[:EXAMPLES_MAX]}")
    questionnaire = scene.questionnaire
    answered = {UUID(completion_id).bytes: number for number, completion_id in requests.ids()}
    if missing := answered.keys() - judged.seen_at.keys():
        raise CheckFailed(f"{len(missing):,} of {len(answered):,} accepted completions have no verdict")
    misjudged = [
        number
        for completion, number in answered.items()
        if questionnaire.matches(number) != (completion in judged.matched)
    ]
    if misjudged:
        raise CheckFailed(
            f"{len(misjudged):,} completions have the wrong verdict: {misjudged[:EXAMPLES_MAX]}"
        )
    called = Counter(call.to for call in calls if call.wamid is not None)
    if twice := [to for to, count in called.items() if count > 1]:
        raise CheckFailed(f"{len(twice):,} contacts were called more than once")
    if called.total() != len(judged.matched):
        raise CheckFailed(f"{called.total():,} calls for {len(judged.matched):,} matches")
    matching = {phone(questionnaire, each) for each in answered.values() if questionnaire.matches(each)}
    if not_called := matching - called.keys():
        raise CheckFailed(f"{len(not_called):,} contacts whose completion matched were not called")


def phone(questionnaire: Questionnaire, number: int) -> str:
    return demo_phone(questionnaire.quiz_id, number % ROWS_MAX).removeprefix("+")

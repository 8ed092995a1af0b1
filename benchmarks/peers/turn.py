"""One side's turn of the whole journey: the same load, watched and counted in the same way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from benchmarks.cpu import between
from benchmarks.e2e import Plan
from benchmarks.load import Generation, Requests, sleep_until
from benchmarks.parts import Wrong
from benchmarks.percentiles import Percentiles, percentiles_ms
from benchmarks.questionnaire import Questionnaire
from benchmarks.scene import Scene
from ops.audit.provider_record import Call, ProviderRecord
from ops.chaos.provider import Provider
from ops.demo.phones import ROWS_MAX, demo_phone
from ops.locate import Deployment

EMPTY_TIMEOUT_S = 600.0
EXAMPLES_MAX = 3

Tell = Callable[[str], None]


class Judged(msgspec.Struct, frozen=True):
    """What lies in Postgres: by completion (16 bytes), since when its verdict can be seen; which matched."""

    seen_at: dict[bytes, float]
    matched: set[bytes]


class Side(Protocol):
    """A system that takes completions over HTTP; it runs, and knows the scene."""

    found: Deployment
    scene: Scene

    def cpu_s(self, generator_pid: int) -> dict[str, float]:
        """CPU seconds since its start, by process, the generator's too."""
        ...

    def wait_empty(self, timeout_s: float) -> None:
        """Returns once nothing is left to do. Raises Wrong."""
        ...

    def judged(self) -> Judged:
        """Asked once, at the end."""
        ...


class Turn(msgspec.Struct, frozen=True):
    """`accepted_per_s`: 202s in the measured seconds, of whatever requests.

    `ack_ms` is of the requests that were due in these seconds, from when they were due; of those that got
    an answer: `unanswered` had none a minute after the load.
    `drained_per_s`: verdicts that became visible in Postgres in the measured seconds.
    `drained_to_empty_per_s`: all completions, from the first request to the last verdict or call, whatever
    came later; `emptied_s` is how long that was after the load ended. CPU seconds are from the warm-up's end
    until all was done.
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


def take(side: Side, plan: Plan, tell: Tell) -> Turn:
    """Raises Wrong where a completion is missing, or a match was called not once; LoadBroken."""
    found, scene = side.found, side.scene
    Provider(found.settings.simulator_url).behave(webhooks=False)
    generation = Generation(found, scene, plan.rate_per_s, plan.requests)
    try:
        tell(f"load: {plan.rate_per_s:g}/s, {plan.warm_up_s:g} s to warm up, then {plan.seconds:g} s")
        measured_at = generation.begun_at + plan.warm_up_s
        sleep_until(measured_at)
        before = side.cpu_s(generation.pid)
        load_end_at = measured_at + plan.seconds
        sleep_until(load_end_at)
        during = side.cpu_s(generation.pid)
        requests = generation.end()
    finally:
        generation.abandon()
    tell("the load is over; waiting until nothing is left to do")
    side.wait_empty(EMPTY_TIMEOUT_S)
    # The generator has ended: its last reading stands.
    after = {**during, **side.cpu_s(generation.pid)}
    after["generator"] = max(after.get("generator", 0.0), during.get("generator", 0.0))
    judged = side.judged()
    calls = list(ProviderRecord(found.settings).more())
    _check(requests, scene, judged, calls)
    return _turn(plan, requests, judged, calls, measured_at, between(before, after))


def _turn(
    plan: Plan,
    requests: Requests,
    judged: Judged,
    calls: Sequence[Call],
    measured_at: float,
    cpu_s: dict[str, float],
) -> Turn:
    begun_at, first, end = requests.told.begun_at, plan.warm_up_requests, plan.requests
    load_end_at = measured_at + plan.seconds
    taken_at = [call.at for call in calls if call.wamid is not None]
    last_at = max([*judged.seen_at.values(), *taken_at])
    drained = sum(measured_at <= at < load_end_at for at in judged.seen_at.values())
    of_cpu = sum(at >= measured_at for at in judged.seen_at.values())
    accepted = requests.answered_between(0, end, plan.warm_up_s, plan.warm_up_s + plan.seconds)
    return Turn(
        offered_per_s=round((end - first) / plan.seconds, 1),
        accepted_per_s=round(accepted / plan.seconds, 1),
        drained_per_s=round(drained / plan.seconds, 1),
        drained_to_empty_per_s=round(len(judged.seen_at) / (last_at - begun_at), 1),
        emptied_s=round(max(0.0, last_at - load_end_at), 2),
        ack_ms=percentiles_ms(requests.latencies_s(first, end)),
        completions=len(judged.seen_at),
        calls=len(taken_at),
        calls_refused=len(calls) - len(taken_at),
        unanswered=requests.unanswered,
        retries=requests.told.retries,
        cpu_s=cpu_s,
        cpu_us_per_completion=round(1e6 * sum(cpu_s.values()) / max(1, of_cpu), 1),
    )


def _check(requests: Requests, scene: Scene, judged: Judged, calls: Sequence[Call]) -> None:
    """By id: every 202 has its verdict, the right one; every match was called once; nobody else was."""
    told = requests.told
    if told.refused:
        raise Wrong(f"{told.refused:,} requests were refused: {told.problems[:EXAMPLES_MAX]}")
    questionnaire = scene.questionnaire
    answered = {UUID(completion_id).bytes: number for number, completion_id in requests.ids()}
    missing = answered.keys() - judged.seen_at.keys()
    if missing:
        raise Wrong(f"{len(missing):,} of {len(answered):,} completions that were answered have no verdict")
    misjudged = [
        number
        for completion, number in answered.items()
        if questionnaire.matches(number) != (completion in judged.matched)
    ]
    if misjudged:
        raise Wrong(f"{len(misjudged):,} completions have the wrong verdict: {misjudged[:EXAMPLES_MAX]}")
    called = Counter(call.to for call in calls if call.wamid is not None)
    twice = [to for to, count in called.items() if count > 1]
    if twice:
        raise Wrong(f"{len(twice):,} people were called more than once")
    if called.total() != len(judged.matched):
        raise Wrong(f"{called.total():,} calls for {len(judged.matched):,} matches")
    not_called = {
        _phone(questionnaire, number) for number in answered.values() if questionnaire.matches(number)
    }
    not_called -= called.keys()
    if not_called:
        raise Wrong(f"{len(not_called):,} people whose completion matched were not called")


def _phone(questionnaire: Questionnaire, number: int) -> str:
    return demo_phone(questionnaire.quiz_id, number % ROWS_MAX).removeprefix("+")


def wait_until(done: Callable[[], bool], timeout_s: float, what: str, every_s: float = 0.5) -> None:
    """Raises Wrong."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline_s:
            raise Wrong(f"{what} after {timeout_s:.0f} s")
        time.sleep(every_s)

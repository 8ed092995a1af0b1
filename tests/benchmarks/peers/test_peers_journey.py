"""A turn is held against what clients were told before there is a figure: these are the ways to fail."""

from __future__ import annotations

from array import array
from dataclasses import replace
from uuid import UUID

import msgspec
import pytest

from benchmarks.load.generation import Requests
from benchmarks.load.generator import LoadResult
from benchmarks.load.scene import Scene
from benchmarks.measure.checks import CheckFailed
from benchmarks.peers import turn
from benchmarks.peers.turn import Judged
from benchmarks.plans import Peers
from ops.audit.provider_record import Call
from ops.demo.phones import demo_phone

REQUESTS = 100
BEGUN_AT = 1000.0
SCENE = Scene(run="abcdef", matching_percent=10, numbers=1)
MATCHING = [number for number in range(REQUESTS) if SCENE.questionnaire.matches(number)]


def _id(number: int) -> str:
    return str(UUID(int=number + 1))


def _requests() -> Requests:
    """Number 0 is the request before the load."""
    due = array("d", [-1.0, *(number / 10 for number in range(REQUESTS - 1))])
    told = LoadResult(
        begun_at=BEGUN_AT,
        due_s=due.tobytes(),
        answered_s=array("d", [at + 0.05 for at in due]).tobytes(),
        ids="".join(_id(number) for number in range(REQUESTS)).encode(),
        retries=0,
        rejected=0,
        refused=0,
        problems=[],
        connections=1,
    )
    return replace(Requests.of(told), answered_s=array("d", [max(0.0, at + 0.05) for at in due]))


def _judged() -> Judged:
    at = {UUID(_id(number)).bytes: BEGUN_AT + number / 10 + 0.5 for number in range(REQUESTS)}
    return Judged(at, {UUID(_id(number)).bytes for number in MATCHING})


def _calls() -> list[Call]:
    return [
        Call(BEGUN_AT + number / 10 + 1, "55", _phone(number), wamid=f"wamid.{number}") for number in MATCHING
    ]


def _phone(number: int) -> str:
    return demo_phone(SCENE.questionnaire.quiz_id, number).removeprefix("+")


def test_a_whole_turn_passes() -> None:
    turn.check(_requests(), SCENE, _judged(), _calls())


def test_a_refused_call_is_no_message() -> None:
    refused = Call(BEGUN_AT, "55", _phone(MATCHING[0]), code=130429)
    turn.check(_requests(), SCENE, _judged(), [refused, *_calls()])


def test_an_answered_completion_without_a_verdict_is_lost() -> None:
    judged = _judged()
    del judged.seen_at[UUID(_id(1)).bytes]
    with pytest.raises(CheckFailed, match="1 of 100 accepted completions have no verdict"):
        turn.check(_requests(), SCENE, judged, _calls())


def test_a_match_that_should_be_none_is_a_wrong_verdict() -> None:
    judged = _judged()
    judged.matched.add(UUID(_id(1)).bytes)
    with pytest.raises(CheckFailed, match="1 completions have the wrong verdict"):
        turn.check(_requests(), SCENE, judged, _calls())


def test_nobody_is_called_twice() -> None:
    calls = [*_calls()[1:], _calls()[1]]  # as many calls as matches
    with pytest.raises(CheckFailed, match="1 contacts were called more than once"):
        turn.check(_requests(), SCENE, _judged(), calls)


def test_everybody_whose_completion_matched_is_called() -> None:
    with pytest.raises(CheckFailed, match="9 calls for 10 matches"):
        turn.check(_requests(), SCENE, _judged(), _calls()[1:])
    stranger = msgspec.structs.replace(_calls()[0], to="5511900000000")
    with pytest.raises(CheckFailed, match="1 contacts whose completion matched were not called"):
        turn.check(_requests(), SCENE, _judged(), [stranger, *_calls()[1:]])


def test_rates_are_of_the_measured_seconds_and_the_whole_is_until_the_last_call() -> None:
    """10 s of load at 10/s, of which the first 2 do not count."""
    plan = Peers(rate_per_s=10.0, seconds=8.0, matching_percent=10, warm_up_s=2.0)
    requests = _requests()
    late = replace(requests, answered_s=array("d", [2.5] * 30) + requests.answered_s[30:])
    got = turn.turn_of(plan, late, _judged(), _calls(), BEGUN_AT + 2.0, {"api": 1.5})
    assert got.accepted_per_s == round(
        99 / 8, 1
    )  # those that were due in the warm-up came in these seconds, too
    assert got.drained_per_s == 80 / 8
    last_call_s = MATCHING[-1] / 10 + 1
    last_verdict_s = (REQUESTS - 1) / 10 + 0.5
    assert got.drained_to_empty_per_s == round(REQUESTS / max(last_call_s, last_verdict_s), 1)
    assert got.emptied_s == round(max(last_call_s, last_verdict_s) - 10.0, 2)
    assert (got.calls, got.calls_refused, got.unanswered) == (10, 0, 0)
    of_cpu = sum(at >= BEGUN_AT + 2.0 for at in _judged().seen_at.values())
    assert got.cpu_us_per_completion == round(1.5e6 / of_cpu, 1)

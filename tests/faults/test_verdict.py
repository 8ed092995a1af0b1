"""The gates of a fault run: each opens for what it should, and for nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from ops.audit.ledger_audit import Report
from ops.audit.provider_record import Call
from ops.chaos.clients.pages import missing, new_visit
from ops.chaos.schedule import BY_KIND, Fault
from ops.chaos.verdict import (
    Attacked,
    Attempt,
    Event,
    Overload,
    Seen,
    counts_by_class,
    cuts_calls,
    gates,
    in_flight,
    outage_seconds,
)
from ops.chaos.watcher import Violation
from ops.chaos.webhooks.opt_outs import OptedOut

KILL = Event(Fault(1.0, "process.kill", "whatsapp-sender", 0.0, 0.5), 1.0, 3.0)


def report(**changes: Any) -> Report:
    counts = {field: 0 for field in Report.__struct_fields__ if field not in ("ok", "breaches", "calls")}
    return Report(**{**counts, "ok": True, "breaches": [], "calls": 0, **changes})


def seen(**changes: Any) -> Seen:
    whole = Seen(
        report=report(),
        events=[KILL],
        violations=[],
        looks=5,
        calls=[],
        ambiguous={},
        dead_letters=[],
        poisoned=[],
        unanswered=0,
        refused=[],
        accepted_in_s=dict.fromkeys(range(10), 600),
        load_s=10.0,
        load_began_at=1000.0,
        drained_s=5.0,
        attempts={"a1": Attempt(0.9, 40.0), "a2": Attempt(1.0), "late": Attempt(30.0, 30.2)},
        call_s_max=10.0,
        opted_out=[STOP],
        in_force_at={STOP.phone: 1002.0},
    )
    return dataclasses.replace(whole, **changes)


def broken(**changes: Any) -> list[str]:
    return [gate.name for gate in gates(seen(**changes), [BY_KIND["process.kill"]], 1) if not gate.ok]


def call(attempt_id: str, wamid: str | None, at: float = 1000.0, rule: str | None = None) -> Call:
    return Call(at, "number", "to", attempt_id, wamid, 200, None, rule)


def test_a_clean_run_passes_every_gate() -> None:
    assert broken() == []


def test_what_is_missing_or_doubled_breaks_its_gate() -> None:
    assert broken(report=report(missing=1, ok=False)) == ["every accepted id is accounted for"]
    assert broken(report=report(twice=1)) == ["no delivery was called twice"]
    assert broken(unanswered=1) == ["every request was accepted in the end"]
    assert broken(drained_s=61.0) == ["drained in time"]


def test_a_burst_is_answered_unless_the_edge_was_away() -> None:
    burst = Overload(begun_s=4.0, ended_s=8.0, offered=9_000, shed=2_000, unanswered=3)
    away = Event(Fault(5.0, "process.kill", "edge", 0.0, 0.5), 5.0, 6.0)
    told = "what is too much is told so"
    assert broken(bursts=[msgspec.structs.replace(burst, unanswered=0)]) == []
    assert broken(bursts=[burst]) == [told]
    assert broken(bursts=[burst], events=[KILL, away], accepted_in_s=dict.fromkeys(range(10), 600)) == []
    assert broken(bursts=[msgspec.structs.replace(burst, unanswered=0, problems=["HTTP 500"])]) == [told]


def test_a_watch_that_never_looked_proves_nothing() -> None:
    assert broken(looks=0) == ["no committed offset exceeded the durable ones"]
    assert broken(violations=[Violation(1.0, "x")]) == ["no committed offset exceeded the durable ones"]


BOUND = "ambiguous is at most what was in flight"
EQUAL = "ambiguous equals what the provider leaves open"
LOOKED = msgspec.structs.replace(KILL, calls=("a1",))


def test_ambiguous_is_bounded_by_the_calls_in_flight() -> None:
    """Where nobody looked at the kill, the marks tell which calls were open."""
    assert broken(ambiguous={"d1": "a1", "d2": "a2"}) == []
    assert broken(ambiguous={"d1": "a1", "d2": "a2", "d3": "late"}) == [BOUND]
    assert broken(events=[], ambiguous={"d1": "a1"})[0] == BOUND
    assert broken(ambiguous={"d1": "unheard of"}) == [BOUND]


def test_what_was_counted_while_the_sender_stood_still_is_exact() -> None:
    assert broken(events=[LOOKED], ambiguous={"d1": "a1"}) == []
    assert broken(events=[LOOKED], ambiguous={"d1": "a1", "d2": "a2"}) == [BOUND]
    nothing_open = msgspec.structs.replace(KILL, calls=())
    assert broken(events=[nothing_open], ambiguous={"d1": "a1"}) == [BOUND]


def test_another_fault_at_the_time_explains_nothing() -> None:
    elsewhere = Event(Fault(1.0, "process.kill", "worker", 0.0, 0.5), 1.0, 3.0)
    assert BOUND in broken(events=[elsewhere], ambiguous={"d1": "a1"})
    assert not cuts_calls(elsewhere.fault)


def test_a_call_is_open_until_its_end_and_no_longer_than_a_call_can_take() -> None:
    """One whose sender is gone is given up long after; a fault in between has not cut it."""
    later = Event(Fault(20.0, "process.kill", "simulator", 0.0, 0.5), 20.0, 22.0)
    assert in_flight(seen(), later) == set()
    assert in_flight(seen(), Event(later.fault, 29.0, 31.0)) == {"late"}
    assert in_flight(seen(), KILL) == {"a1", "a2"}


def test_a_bad_answer_explains_a_call_that_no_fault_has_cut() -> None:
    hung = [call("late", None, rule="provider.hang")]
    assert broken(ambiguous={"d": "late"}, calls=hung) == []
    assert broken(ambiguous={"d": "late"}, calls=[call("late", None)]) == [BOUND]


def test_a_call_that_the_provider_took_must_be_resolved() -> None:
    assert broken(ambiguous={"d": "a1"}, calls=[call("a1", None)]) == []
    taken = [call("a1", "wamid")]
    assert broken(ambiguous={"d": "a1"}, calls=taken) == [EQUAL]
    lost = Event(Fault(1.0, "process.kill", "simulator", 0.0, 0.5), 1.0, 3.0)
    assert broken(ambiguous={"d": "a1"}, calls=taken, events=[KILL, lost]) == []


def test_a_call_that_the_provider_leaves_open_must_be_ambiguous() -> None:
    hung = Call(1000.0, "number", "to", "a1", None, None, None, "provider.hang")
    assert broken(ambiguous={"d": "a1"}, calls=[hung]) == []
    assert broken(calls=[hung]) == [EQUAL]
    unclear = msgspec.structs.replace(hung, status=500, code=131000)
    assert broken(calls=[unclear]) == [EQUAL]
    refused = msgspec.structs.replace(hung, status=429, code=130429)
    assert broken(calls=[refused]) == []


def test_dead_letters_are_the_poison_and_nothing_else() -> None:
    assert broken(dead_letters=[("t", 0, 1)], poisoned=[("t", 0, 1), ("t", 0, 1)]) == []
    assert broken(dead_letters=[("t", 0, 1)]) == ["dead letters are the poison"]
    assert broken(poisoned=[("t", 0, 1)]) == ["dead letters are the poison"]


def test_seconds_of_a_planned_outage_do_not_count() -> None:
    away = Event(Fault(2.0, "kafka.kill", "kafka", 1.0, 0.5), 2.0, 5.5)
    assert outage_seconds([away], 10.0) == {2, 3, 4, 5, 6}
    slow = {second: 600 * (second not in {2, 3, 4, 5, 6}) for second in range(10)}
    assert broken(accepted_in_s=slow, events=[KILL, away]) == []
    assert broken(accepted_in_s=slow) == ["at least 500/s accepted"]
    wrong_clock = Event(Fault(2.0, "clock.jump", "edge", 3.0, 0.5), 2.0, 5.0)
    assert outage_seconds([wrong_clock], 10.0) == set()


def test_each_class_is_counted() -> None:
    valkey = Event(Fault(1.0, "valkey.restart", "valkey", 1.0, 0.5), 1.0, 3.0)
    assert counts_by_class([KILL, valkey]) == {"process.kill": 1, "valkey.restart": 1}
    (gate,) = (one for one in gates(seen(events=[]), [BY_KIND["valkey.restart"]], 1) if "class" in one.name)
    assert not gate.ok


def test_a_class_that_was_not_injected_is_told() -> None:
    assert broken(events=[]) == ["each class at least 1 times"]
    failed = Event(KILL.fault, 1.0, 3.0, failed="it would not die")
    assert broken(events=[KILL, failed]) == ["each class at least 1 times"]


STOP = OptedOut("+5547989211984", "list reply", 1001.0)


def test_an_acknowledged_opt_out_must_be_in_force() -> None:
    assert broken(in_force_at={}) == ["no message after an opt-out"]
    assert broken(opted_out=[]) == ["no message after an opt-out"]
    assert broken() == []


LATER = [(1014.0, "w", True), (1016.0, "w", False), (1016.0, None, True)]


@pytest.mark.parametrize(("at", "wamid", "holds"), LATER)
def test_after_an_opt_out_and_the_calls_in_flight_no_message_goes_to_the_person(
    at: float, wamid: str | None, holds: bool
) -> None:
    one = Call(at, "number", "5547989211984", "a9", wamid, 200, None, "rule")
    gate = "no message after an opt-out"
    assert (gate in broken(calls=[one])) == (not holds)


def test_a_webhook_that_the_edge_rejects_breaks_the_gate() -> None:
    assert broken(webhook_problems=["HTTP 413"]) == ["no message after an opt-out"]


ATTACK = Attacked(1.0, 20.0, blocked=4, attackers=4, honest_offered=40, honest_accepted=40)
ATTACKED = "attackers are blocked and nobody else"
VISITS = "every visit with an accepted report is stored"


def test_an_attacker_that_is_not_blocked_and_an_honest_client_that_is_break_their_gate() -> None:
    replace = msgspec.structs.replace
    assert broken(attacks=[ATTACK]) == []
    assert broken(attacks=[replace(ATTACK, blocked=3)]) == [ATTACKED]
    assert broken(attacks=[ATTACK, replace(ATTACK, honest_problems=["127.51.1.1: blocked"])]) == [ATTACKED]
    lacking = replace(ATTACK, honest_accepted=39)
    assert broken(attacks=[lacking]) == [ATTACKED]
    outage = Event(Fault(5.0, "process.kill", "edge", 0.0, 0.5), 5.0, 8.0)
    assert broken(attacks=[lacking], events=[KILL, outage]) == []


def test_a_visit_that_is_not_stored_breaks_its_gate() -> None:
    one, other, third = (new_visit(1_790_000_000_000 + n) for n in range(3))
    accepted = {one: ["started", "completed"], other: ["started"], third: ["started", "completed"]}
    stored = {one: {"started", "completed"}, other: {"abandoned"}, third: {"progressed"}}
    assert list(missing(accepted, stored)) == [third]
    assert list(missing(accepted, {})) == [one, other, third]
    assert broken(visits=3) == []
    assert broken(visits=3, missing_visits=[third]) == [VISITS]
    assert broken(visits=3, visit_problems=["HTTP 422"]) == [VISITS]

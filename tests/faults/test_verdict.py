"""The gates of a fault run: each opens for what it should, and for nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

from ops.books import Report
from ops.chaos.schedule import BY_KIND, Fault
from ops.chaos.verdict import Event, Seen, gates, outage_seconds
from ops.chaos.watcher import Violation
from ops.simulator.record import Call

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
        calls_in_flight_max=2,
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
    assert broken(report=report(twice=1)) == ["nobody was called twice"]
    assert broken(unanswered=1) == ["every request was accepted in the end"]
    assert broken(drained_s=61.0) == ["drained in time"]


def test_a_watch_that_never_looked_proves_nothing() -> None:
    assert broken(looks=0) == ["no committed offset passed what is durable"]
    assert broken(violations=[Violation(1.0, "x")]) == ["no committed offset passed what is durable"]


def test_ambiguous_is_bounded_by_the_calls_in_flight() -> None:
    assert broken(ambiguous={"d1": "a1", "d2": "a2"}) == []
    assert broken(ambiguous={"d1": "a1", "d2": "a2", "d3": "a3"}) == [
        "ambiguous is at most what was in flight"
    ]
    assert broken(events=[], ambiguous={"d1": "a1"})[0] == "ambiguous is at most what was in flight"
    assert broken(ambiguous={f"d{n}": f"a{n}" for n in range(3)}, calls=[call("a", None, rule="hang")]) == []


def test_a_call_that_the_provider_took_must_be_resolved() -> None:
    assert broken(ambiguous={"d": "a"}, calls=[call("a", None)]) == []
    taken = [call("a", "wamid")]
    assert broken(ambiguous={"d": "a"}, calls=taken) == [
        "each ambiguous delivery is one that the provider leaves open"
    ]
    lost = Event(Fault(1.0, "process.kill", "simulator", 0.0, 0.5), 1.0, 3.0)
    assert broken(ambiguous={"d": "a"}, calls=taken, events=[KILL, lost]) == []


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


def test_a_class_that_was_not_injected_is_told() -> None:
    assert broken(events=[]) == ["each class at least 1 times"]
    failed = Event(KILL.fault, 1.0, 3.0, failed="it would not die")
    assert broken(events=[KILL, failed]) == ["each class at least 1 times"]

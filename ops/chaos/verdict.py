"""Whether a run held what is promised. Pure: everything that was seen goes in, gates come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ops.books import Report
from ops.chaos.schedule import Fault, FaultClass
from ops.chaos.watcher import Violation
from ops.simulator.record import Call

DRAIN_S_MAX = 60.0
EXAMPLES_MAX = 5
ACCEPTED_PER_S_MIN = 500.0
RECOVERY_S = 1.0  # a client's own back-off after an outage

Position = tuple[str, int, int]


class Event(msgspec.Struct, frozen=True):
    """A fault as it was carried out; seconds since the load began. `failed` says why it could not be."""

    fault: Fault
    begun_s: float
    ended_s: float
    note: str = ""
    failed: str = ""


class Gate(msgspec.Struct, frozen=True):
    """`of_time`: how fast the machine was is in it, too."""

    name: str
    ok: bool
    said: str
    of_time: bool = False


@dataclass(frozen=True)
class Seen:
    """`ambiguous`: delivery -> its last attempt; `calls`: the provider's record; times in s of the run."""

    report: Report
    events: Sequence[Event]
    violations: Sequence[Violation]
    looks: int
    calls: Sequence[Call]
    ambiguous: Mapping[str, str]
    dead_letters: Collection[Position]
    poisoned: Collection[Position]
    unanswered: int
    refused: Sequence[str]
    accepted_in_s: Mapping[int, int]
    load_s: float
    load_began_at: float  # wall clock, s
    drained_s: float
    calls_in_flight_max: int


def gates(
    seen: Seen,
    classes: Iterable[FaultClass],
    each_min: int,
    accepted_per_s_min: float = ACCEPTED_PER_S_MIN,
) -> list[Gate]:
    report = seen.report
    breaches = "; ".join(f"{b.kind}: {b.what} ({b.count})" for b in report.breaches)
    return [
        Gate("every accepted id is accounted for", not report.missing and report.ok, breaches or "all are"),
        Gate("nobody was called twice", not report.twice, f"{report.calls} calls, {report.twice} repeated"),
        _watched(seen),
        _ambiguous_bounded(seen),
        _ambiguous_explained(seen),
        _dead_letters(seen),
        _answered(seen),
        _pace(seen, accepted_per_s_min),
        _injected(seen, classes, each_min),
        Gate(
            "drained in time",
            seen.drained_s <= DRAIN_S_MAX,
            f"{seen.drained_s:.1f} s after the last fault; at most {DRAIN_S_MAX:.0f} s",
            of_time=True,
        ),
    ]


def _watched(seen: Seen) -> Gate:
    ok = not seen.violations and seen.looks > 0
    said = "; ".join(violation.what for violation in seen.violations[:EXAMPLES_MAX])
    return Gate("no committed offset passed what is durable", ok, said or f"looked {seen.looks} times")


def cuts_calls(fault: Fault) -> bool:
    """Whether calls that were under way may never get their answer, or never write it down."""
    if fault.kind.startswith("process."):
        return fault.target in ("whatsapp-sender", "whatsapp-sender-1", "simulator")
    if fault.kind.startswith("link."):
        return fault.target in ("sender-provider", "sender-postgres")
    return fault.kind.startswith("postgres.")


def _ambiguous_bounded(seen: Seen) -> Gate:
    cuts = sum(cuts_calls(event.fault) for event in seen.events)
    unclear = sum(call.rule is not None for call in seen.calls)
    most = cuts * seen.calls_in_flight_max + unclear
    said = (
        f"{len(seen.ambiguous)}; {cuts} faults cut at most {seen.calls_in_flight_max} calls each, "
        f"the provider misbehaved in {unclear}"
    )
    return Gate("ambiguous is at most what was in flight", len(seen.ambiguous) <= most, said)


def _ambiguous_explained(seen: Seen) -> Gate:
    """The provider never heard of the call, or did not take it, or its statuses died with the simulator."""
    calls = {call.attempt_id: call for call in seen.calls}
    ended_at = [
        seen.load_began_at + event.ended_s
        for event in seen.events
        if event.fault.target == "simulator" and event.fault.kind in ("process.kill", "process.terminate")
    ]
    reasons: Counter[str] = Counter()
    strange = []
    for delivery_id, attempt_id in seen.ambiguous.items():
        call = calls.get(attempt_id)
        if call is None:
            reasons["never arrived"] += 1
        elif call.wamid is None:
            reasons["not taken"] += 1
        elif any(call.at < at for at in ended_at):
            reasons["taken, statuses lost with the simulator"] += 1
        else:
            strange.append(delivery_id)
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    said = f"not: {', '.join(strange[:EXAMPLES_MAX])}" if strange else counted or "none"
    return Gate("each ambiguous delivery is one that the provider leaves open", not strange, said)


def _dead_letters(seen: Seen) -> Gate:
    surplus, lacking = (
        set(seen.dead_letters) - set(seen.poisoned),
        set(seen.poisoned) - set(seen.dead_letters),
    )
    examples = [*sorted(surplus), *sorted(lacking)][:EXAMPLES_MAX]
    said = f"{len(set(seen.poisoned))} injected, {len(surplus)} too many, {len(lacking)} not there"
    return Gate("dead letters are the poison", not examples, f"{said} {examples or ''}".strip())


def _answered(seen: Seen) -> Gate:
    ok = not seen.unanswered and not seen.refused
    said = "; ".join(seen.refused[:EXAMPLES_MAX]) or "none refused"
    return Gate("every request was accepted in the end", ok, f"{seen.unanswered} without an answer; {said}")


def outage_seconds(events: Iterable[Event], load_s: float) -> set[int]:
    """Whole seconds of the run in which the edge could not be expected to accept."""
    seconds: set[int] = set()
    for event in events:
        fault = event.fault
        if fault.kind.startswith("kafka.") or fault.target in ("edge", "clients-edge"):
            seconds.update(range(int(event.begun_s), int(event.ended_s + RECOVERY_S) + 1))
    return {second for second in seconds if second < load_s}


def _pace(seen: Seen, accepted_per_s_min: float) -> Gate:
    out = outage_seconds(seen.events, seen.load_s)
    counted = [second for second in range(int(seen.load_s)) if second not in out]
    accepted = sum(seen.accepted_in_s.get(second, 0) for second in counted)
    average = accepted / max(1, len(counted))
    said = f"{average:.0f}/s on average over {len(counted)} s; {len(out)} s of planned outage left out"
    return Gate(f"at least {accepted_per_s_min:.0f}/s accepted", average >= accepted_per_s_min, said, True)


def counts_by_class(events: Iterable[Event]) -> dict[str, int]:
    return dict(Counter(event.fault.kind for event in events if not event.failed))


def _injected(seen: Seen, classes: Iterable[FaultClass], each_min: int) -> Gate:
    counts = counts_by_class(seen.events)
    rare = [one.kind for one in classes if counts.get(one.kind, 0) < each_min]
    failed = [
        f"{event.fault.kind} {event.fault.target}: {event.failed}" for event in seen.events if event.failed
    ]
    said = f"{sum(counts.values())} faults of {len(counts)} classes"
    if rare:
        said += f"; fewer than {each_min} of {', '.join(rare)}"
    if failed:
        said += f"; could not: {'; '.join(failed[:EXAMPLES_MAX])}"
    return Gate(f"each class at least {each_min} times", not rare and not failed, said)

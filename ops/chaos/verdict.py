"""Judges a fault run: from the observations to the gates. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ops.audit.ledger_audit import Report
from ops.audit.provider_record import Call, certainly_not_sent
from ops.chaos.schedule import Fault, FaultClass
from ops.chaos.watcher import Violation
from ops.chaos.webhooks.opt_outs import OptedOut, messages_after

DRAIN_S_MAX = 60.0
EXAMPLES_MAX = 5
ACCEPTED_PER_S_MIN = 500.0
# Between a fault's scheduled time and its execution: the tolerance at both ends of a cut.
CUT_BLUR_S = 1.0
COMMIT_S = 3.0  # of the transaction that writes a suppression
RECOVERY_S = 1.0  # a client's own back-off after an outage

Position = tuple[str, int, int]


class Event(msgspec.Struct, frozen=True):
    """A fault as executed; seconds since the start of the load. `failed`: the reason why it failed."""

    fault: Fault
    begun_s: float
    ended_s: float
    note: str = ""
    failed: str = ""
    calls: tuple[str, ...] | None = None  # attempts in flight at its time, if they were read


class Attempt(msgspec.Struct, frozen=True):
    """A marked call and its end, if any; seconds since the start of the load."""

    called_s: float
    finished_s: float | None = None


class Gate(msgspec.Struct, frozen=True):
    """A promise and whether it held. `of_time`: it depends on the speed of the machine."""

    name: str
    ok: bool
    detail: str
    of_time: bool = False


class Overload(msgspec.Struct, frozen=True):
    """More completions at once than are answered in time; seconds since the start of the load.

    `problems`: answers that are neither an acceptance nor a rejection with Retry-After.
    """

    begun_s: float
    ended_s: float
    offered: int
    shed: int
    unanswered: int
    problems: Sequence[str] = ()


class Attacked(msgspec.Struct, frozen=True):
    """An attack; seconds since the start of the load. `honest_problems`: rejections as if they attacked."""

    begun_s: float
    ended_s: float
    blocked: int
    attackers: int
    honest_offered: int
    honest_accepted: int
    honest_problems: Sequence[str] = ()


@dataclass(frozen=True)
class Seen:
    """The observations of a run; times in seconds since the start of the load.

    - `ambiguous`: delivery -> its last attempt.
    - `calls`: the provider's record.
    - `call_s_max`: the longest time from a mark to the end of its call.
    - `in_force_at`: phone -> when its suppression was written, wall clock, seconds.
    """

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
    attempts: Mapping[str, Attempt]
    call_s_max: float
    opted_out: Sequence[OptedOut] = ()
    in_force_at: Mapping[str, float] = field(default_factory=dict)
    malformed_webhooks: int = 0
    webhook_problems: Sequence[str] = ()
    bursts: Sequence[Overload] = ()
    attacks: Sequence[Attacked] = ()
    visits: int = 0  # of which a report was accepted
    missing_visits: Sequence[str] = ()  # of those the table does not have
    visit_problems: Sequence[str] = ()


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
        Gate(
            "no delivery was called twice",
            not report.twice,
            f"{report.calls} calls ({_by_provider(seen.calls)}), {report.twice} repeated",
        ),
        _watched(seen),
        _ambiguous_bounded(seen),
        _ambiguous_equal(seen),
        _dead_letters(seen),
        _answered(seen),
        _opt_outs(seen),
        _overloads(seen),
        _attacks(seen),
        _visits(seen),
        _pace(seen, accepted_per_s_min),
        _injected(seen, classes, each_min),
        Gate(
            "drained in time",
            seen.drained_s <= DRAIN_S_MAX,
            f"{seen.drained_s:.1f} s after the last fault; at most {DRAIN_S_MAX:.0f} s",
            of_time=True,
        ),
    ]


def _by_provider(calls: Iterable[Call]) -> str:
    counts = Counter(call.provider for call in calls)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "no provider"


def _watched(seen: Seen) -> Gate:
    ok = not seen.violations and seen.looks > 0
    detail = "; ".join(violation.what for violation in seen.violations[:EXAMPLES_MAX])
    return Gate("no committed offset exceeded the durable ones", ok, detail or f"looked {seen.looks} times")


def cuts_calls(fault: Fault) -> bool:
    """Return whether the fault can make calls in flight lose their answer or its record.

    An unavailable database cannot: the sender keeps the result of a call until it is written.
    """
    if fault.kind in ("process.kill", "process.terminate", "process.stop"):
        return fault.target in ("whatsapp-sender", "simulator")
    return fault.kind.startswith("link.") and fault.target == "sender-provider"


def in_flight(seen: Seen, event: Event) -> set[str]:
    """Return the attempts that were in flight at the fault, or at any time while it lasted."""
    if event.calls is not None:
        return set(event.calls)
    begun_s, ended_s = event.begun_s - CUT_BLUR_S, event.ended_s + CUT_BLUR_S
    return {
        attempt_id
        for attempt_id, one in seen.attempts.items()
        if one.called_s <= ended_s and _open_until_s(one, seen.call_s_max) >= begun_s
    }


def _open_until_s(one: Attempt, call_s_max: float) -> float:
    """Return when the call ended at the latest; its result may have been written later."""
    longest_s = one.called_s + call_s_max
    return longest_s if one.finished_s is None else min(one.finished_s, longest_s)


def _ambiguous_bounded(seen: Seen) -> Gate:
    """Check by id: each ambiguous delivery was in flight at a cutting fault, or was answered badly."""
    cutting = [event for event in seen.events if cuts_calls(event.fault)]
    cut = [in_flight(seen, event) for event in cutting]
    unclear = {call.attempt_id for call in seen.calls if call.rule is not None}
    explained = set[str | None](unclear).union(*cut)
    strange = [delivery for delivery, attempt in seen.ambiguous.items() if attempt not in explained]
    looked = sum(event.calls is not None for event in cutting)
    detail = (
        f"{len(seen.ambiguous)}; under way at {len(cutting)} faults were {len(set[str]().union(*cut))} calls "
        f"(looked at while {looked} senders stood still), the provider misbehaved in {len(unclear)}"
    )
    if strange:
        detail += f"; neither: {', '.join(strange[:EXAMPLES_MAX])}"
    return Gate("ambiguous is at most what was in flight", not strange, detail)


def _ambiguous_equal(seen: Seen) -> Gate:
    """Check that the ambiguous deliveries are those that the provider's record leaves open.

    - Open: the call never arrived, or was not accepted, or its statuses were lost with the simulator.
    - A call that arrived, was not accepted and was not clearly rejected must be ambiguous.
    """
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
            reasons["not accepted"] += 1
        elif any(call.at < at for at in ended_at):
            reasons["accepted, statuses lost with the simulator"] += 1
        else:
            strange.append(delivery_id)
    listed = set(seen.ambiguous.values())
    unlisted = [
        call.attempt_id
        for call in seen.calls
        if call.attempt_id in seen.attempts
        and call.wamid is None
        and not certainly_not_sent(call)
        and call.attempt_id not in listed
    ]
    detail = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    if strange:
        detail += f"; resolved by the provider: {', '.join(strange[:EXAMPLES_MAX])}"
    if unlisted:
        detail += f"; open at the provider only: {', '.join(str(one) for one in unlisted[:EXAMPLES_MAX])}"
    return Gate("ambiguous equals what the provider leaves open", not strange and not unlisted, detail)


def _dead_letters(seen: Seen) -> Gate:
    surplus, lacking = (
        set(seen.dead_letters) - set(seen.poisoned),
        set(seen.poisoned) - set(seen.dead_letters),
    )
    examples = [*sorted(surplus), *sorted(lacking)][:EXAMPLES_MAX]
    detail = f"{len(set(seen.poisoned))} injected, {len(surplus)} unexpected, {len(lacking)} missing"
    return Gate("dead letters are the poison", not examples, f"{detail} {examples or ''}".strip())


def _answered(seen: Seen) -> Gate:
    ok = not seen.unanswered and not seen.refused
    detail = "; ".join(seen.refused[:EXAMPLES_MAX]) or "none rejected"
    return Gate("every request was accepted in the end", ok, f"{seen.unanswered} without an answer; {detail}")


def _opt_outs(seen: Seen) -> Gate:
    """Check that each acknowledged opt-out is in force, and that no later message went to its person."""
    grace_s = seen.call_s_max + COMMIT_S
    lost, late = messages_after(seen.opted_out, seen.in_force_at, seen.calls, grace_s)
    forms = len({one.form for one in seen.opted_out})
    detail = f"{len(seen.opted_out)} of {forms} forms, {seen.malformed_webhooks} malformed webhooks beside"
    if lost:
        detail += f"; not in force: {', '.join(lost[:EXAMPLES_MAX])}"
    if late:
        detail += f"; a message later: {', '.join(late[:EXAMPLES_MAX])}"
    if seen.webhook_problems:
        detail += f"; webhooks rejected: {', '.join(seen.webhook_problems[:EXAMPLES_MAX])}"
    ok = bool(seen.opted_out) and not lost and not late and not seen.webhook_problems
    return Gate("no message after an opt-out", ok, detail)


def _overloads(seen: Seen) -> Gate:
    """Check that each completion of a burst had an answer, unless the edge was away at some time in it."""
    out = outage_seconds(seen.events, seen.load_s)
    wrong: list[str] = []
    for burst in seen.bursts:
        wrong += burst.problems
        is_served = out.isdisjoint(range(int(burst.begun_s), int(burst.ended_s) + 1))
        if burst.unanswered and is_served:
            wrong.append(f"{burst.unanswered} without an answer at {burst.begun_s:.0f} s")
    offered, shed = (sum(getattr(one, each) for one in seen.bursts) for each in ("offered", "shed"))
    detail = f"{len(seen.bursts)} bursts, {offered:,} offered, {shed:,} shed"
    if wrong:
        detail += f"; {'; '.join(wrong[:EXAMPLES_MAX])}"
    return Gate("what is too much is told so", not wrong, detail)


def _attacks(seen: Seen) -> Gate:
    """Check that attackers are blocked, and that honest clients of other addresses are not."""
    out = outage_seconds(seen.events, seen.load_s)
    wrong: list[str] = []
    for one in seen.attacks:
        wrong += one.honest_problems
        if one.blocked < one.attackers:
            wrong.append(f"{one.attackers - one.blocked} attackers not blocked at {one.begun_s:.0f} s")
        is_served = out.isdisjoint(range(int(one.begun_s), int(one.ended_s) + 1))
        if one.honest_accepted < one.honest_offered and is_served:
            lacking = one.honest_offered - one.honest_accepted
            wrong.append(f"{lacking} honest completions not accepted at {one.begun_s:.0f} s")
    blocked = sum(one.blocked for one in seen.attacks)
    honest = sum(one.honest_accepted for one in seen.attacks)
    detail = f"{len(seen.attacks)} attacks, {blocked} addresses blocked, {honest} honest completions accepted"
    if wrong:
        detail += f"; {'; '.join(wrong[:EXAMPLES_MAX])}"
    return Gate("attackers are blocked and nobody else", not wrong, detail)


def _visits(seen: Seen) -> Gate:
    wrong = [*seen.visit_problems, *(f"{visit} is not in the table" for visit in seen.missing_visits)]
    detail = f"{seen.visits:,} visits, {len(seen.missing_visits)} missing"
    if wrong:
        detail += f"; {'; '.join(wrong[:EXAMPLES_MAX])}"
    return Gate("every visit with an accepted report is stored", not wrong, detail)


def outage_seconds(events: Iterable[Event], load_s: float) -> set[int]:
    """Return the whole seconds of the run in which a fault kept the edge from accepting."""
    seconds: set[int] = set()
    for event in events:
        fault = event.fault
        if fault.kind == "clock.jump":
            continue
        if fault.target in ("kafka", "edge", "clients-edge", "edge-kafka"):
            seconds.update(range(int(event.begun_s), int(event.ended_s + RECOVERY_S) + 1))
    return {second for second in seconds if second < load_s}


def _pace(seen: Seen, accepted_per_s_min: float) -> Gate:
    out = outage_seconds(seen.events, seen.load_s)
    counted = [second for second in range(int(seen.load_s)) if second not in out]
    accepted = sum(seen.accepted_in_s.get(second, 0) for second in counted)
    average = accepted / max(1, len(counted))
    detail = f"{average:.0f}/s on average over {len(counted)} s; {len(out)} s of planned outage left out"
    return Gate(f"at least {accepted_per_s_min:.0f}/s accepted", average >= accepted_per_s_min, detail, True)


def counts_by_class(events: Iterable[Event]) -> dict[str, int]:
    """Return kind -> faults that were survived."""
    return dict(Counter(event.fault.kind for event in events if not event.failed))


def _injected(seen: Seen, classes: Iterable[FaultClass], each_min: int) -> Gate:
    counts = counts_by_class(seen.events)
    rare = [one.kind for one in classes if counts.get(one.kind, 0) < each_min]
    failed = [
        f"{event.fault.kind} {event.fault.target}: {event.failed}" for event in seen.events if event.failed
    ]
    detail = f"{sum(counts.values())} faults of {len(counts)} classes"
    if rare:
        detail += f"; fewer than {each_min} of {', '.join(rare)}"
    if failed:
        detail += f"; failed: {'; '.join(failed[:EXAMPLES_MAX])}"
    return Gate(f"each class at least {each_min} times", not rare and not failed, detail)

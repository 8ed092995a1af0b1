"""Results for a person to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import (
    e2e,
    edge,
    growth,
    sender,
    shapes_backlog,
    shapes_rebalance,
    shapes_spike,
    shapes_users,
    sink,
    storage,
    workers,
)
from benchmarks.machine import Machine
from benchmarks.parts import Spread
from benchmarks.peers import journey, stages
from benchmarks.percentiles import Percentiles


def text(measured: object) -> str:
    match measured:
        case e2e.Result():
            return _e2e(measured)
        case e2e.Fell():
            return _fell(measured)
        case edge.Result():
            return _edge(measured)
        case sink.Result():
            return _sink(measured)
        case sender.Result():
            return _sender(measured)
    for result, said in _SAID.items():
        if isinstance(measured, result):
            # Each of these has where it was measured; there is no more that they share.
            return f"{where(measured.machine, measured.commit, measured.at)}\n{said(measured)}"  # type: ignore[attr-defined]
    raise TypeError(type(measured).__name__)


# Results that say for themselves what they found.
_SAID: Mapping[type, Callable[[Any], str]] = {
    module.Result: module.text
    for module in (
        growth,
        journey,
        shapes_backlog,
        shapes_rebalance,
        shapes_spike,
        shapes_users,
        stages,
        storage,
        workers,
    )
}


def where(machine: Machine, commit: str, at: str) -> str:
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, Python {machine.python}, "
        f"load before {machine.load_1m:g}, commit {commit or 'unknown'}, {at}"
    )


def _e2e(r: e2e.Result) -> str:
    lines = [
        where(r.machine, r.commit, r.at),
        f"offered {r.offered_per_s:,}/s for {r.plan.seconds:g} s, accepted {r.accepted_per_s:,}/s, "
        f"drained {r.drained_per_s:,}/s, provider called {r.calls_per_s:,}/s",
        f"lost {r.lost}, twice {r.twice}, retries {r.retries}",
        _row("202", r.ack_ms),
        _row("row visible in Postgres", r.to_postgres_ms),
        _row("verdict visible in Postgres", r.to_verdict_row_ms),
        _row("provider called", r.to_provider_ms),
        f"backlog at the end {r.backlog_end:,}, at most {r.backlog_max:,}, "
        f"growing by {'?' if r.backlog_growth_per_s is None else r.backlog_growth_per_s}/s",
        f"CPU {r.cpu_us_per_completion:,} us a completion, {r.cores_used} of {r.machine.cores} cores:",
        *(f"  {name:20} {cpu_s:8.2f} s" for name, cpu_s in r.cpu_s.items()),
        *(f"{'met   ' if met else 'MISSED'} {target}" for target, met in r.targets.items()),
    ]
    return "\n".join(lines)


def _row(name: str, ms: Percentiles) -> str:
    return f"{name:28} p50 {_ms(ms.p50)}  p99 {_ms(ms.p99)}  max {_ms(ms.max)}  of {ms.count:,}"


def _ms(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:,.1f}':>9} ms"


def _fell(fell: e2e.Fell) -> str:
    lines = [
        f"no figures: lost {fell.lost}, twice {fell.twice}, refused {fell.refused}, "
        f"unanswered {fell.unanswered}",
        *fell.problems,
    ]
    for breach in fell.breaches:
        lines.append(f"{breach.kind.upper()}: {breach.what}: {breach.count:,}")
        lines.extend(f"    {example}" for example in breach.examples[:5])
    return "\n".join(lines)


def _edge(r: edge.Result) -> str:
    lines = [where(r.machine, r.commit, r.at), f"{r.checked:,} ids answered, all of them in the topic"]
    for rate in r.rates:
        lines += [
            f"{rate.rate_per_s:g}/s: accepted {_spread(rate.accepted_per_s)}/s, "
            f"p50 {_spread(rate.ack_p50_ms)} ms, p99 {_spread(rate.ack_p99_ms)} ms",
            *_cpu(rate.cpu_us, "request"),
        ]
    return "\n".join(lines)


def _sink(r: sink.Result) -> str:
    lines = [
        where(r.machine, r.commit, r.at),
        f"{r.rows_checked:,} rows checked, {_spread(r.rows_per_s)} rows/s",
        *_cpu(r.cpu_us_per_row, "row"),
    ]
    return "\n".join(lines)


def _sender(r: sender.Result) -> str:
    lines = [
        where(r.machine, r.commit, r.at),
        f"{r.numbers} numbers of {r.pace_per_s}/s: {_spread(r.messages_per_s)} messages/s; "
        f"at most {r.window_max} in any second of a number; {r.messages * r.rounds:,} messages, none twice",
        *_cpu(r.cpu_us_per_message, "message"),
    ]
    return "\n".join(lines)


def _spread(spread: Spread) -> str:
    return f"{spread.median:,} ({spread.min:,}-{spread.max:,})"


def _cpu(cpu_us: Mapping[str, Spread], of: str) -> list[str]:
    return [f"  {name:20} {_spread(used)} us a {of}" for name, used in cpu_us.items()]

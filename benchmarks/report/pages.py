"""One page of a result: `quizstream bench plot RESULT.json PAGE.svg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from benchmarks.measure.figures import Spread
from benchmarks.peers import journey
from benchmarks.report.svg import Bar, Latency, Page
from benchmarks.scenarios import e2e, growth, spike, users
from benchmarks.scenarios.e2e import ACK_P99_MS_MAX, POSTGRES_P99_MS_MAX, PROVIDER_P99_MS_MAX
from pipeline.errors import OperatorError


class NoPage(OperatorError):
    """There is no page for this kind of result."""


def e2e_page(r: e2e.Result) -> Page:
    title = f"{r.plan.rate_per_s:g} completions/s for {r.plan.seconds:g} s, end to end"
    p = Page(title, r, _checked(r.lost, r.twice))
    p.latencies(
        "Latency from when the request was due",
        [
            Latency("202", r.ack_ms, ACK_P99_MS_MAX),
            Latency("row visible in Postgres", r.to_postgres_ms, POSTGRES_P99_MS_MAX),
            Latency("verdict visible in Postgres", r.to_verdict_row_ms),
            Latency("provider called", r.to_provider_ms, PROVIDER_P99_MS_MAX),
        ],
    )
    p.bars(
        f"CPU: {r.cores_used} of {r.machine.cores} cores, {r.cpu_us_per_completion:,.0f} us a completion",
        [Bar(name, cpu_s, f"{cpu_s / r.plan.seconds:.2f} cores") for name, cpu_s in r.cpu_s.items()],
    )
    p.bars(
        "Throughput, a second",
        [
            _rate("offered", r.offered_per_s),
            _rate("accepted", r.accepted_per_s),
            _rate("drained to Postgres", r.drained_per_s),
            _rate("messages sent", r.calls_per_s),
        ],
    )
    return p


def spike_page(r: spike.Result) -> Page:
    title = f"{r.plan.rate_per_s:g} completions/s, {r.plan.times:g} times as many for {r.plan.spike_s:g} s"
    p = Page(title, r, _checked(r.lost, r.twice))
    p.latencies("202 from when the request was due", [Latency(part.name, part.ack_ms) for part in r.parts])
    p.bars(
        "Throughput, completions a second",
        [
            _rate(f"{part.name}, {name}", per_s)
            for part in r.parts
            for name, per_s in (
                ("offered", part.offered_per_s),
                ("accepted", part.accepted_per_s),
                ("drained", part.drained_per_s),
            )
        ],
    )
    recovered = "not within the run" if r.recovered_s is None else f"{r.recovered_s:.1f} s after its end"
    p.bars(
        f"Largest backlog, records; as before the spike {recovered}",
        [Bar(part.name, part.backlog_max, f"{part.backlog_max:,}") for part in r.parts],
    )
    return p


def users_page(r: users.Result) -> Page:
    p = Page(f"Users who think for {r.think_s:g} s on average", r, _checked(r.lost, r.twice))
    p.latencies(
        "202 from when it was first sent", [Latency(f"{c.users:,} users", c.ack_ms) for c in r.crowds]
    )
    p.bars(
        "Throughput, completions a second",
        [
            _rate(f"{c.users:,} users, {name}", per_s)
            for c in r.crowds
            for name, per_s in (("accepted", c.accepted_per_s), ("drained", c.drained_per_s))
        ],
    )
    p.bars(
        f"CPU, of {r.machine.cores} cores",
        [Bar(f"{c.users:,} users", c.cores_used, f"{c.cores_used:.2f} cores") for c in r.crowds],
    )
    return p


def journey_page(r: journey.Result) -> Page:
    title = f"{r.plan.rate_per_s:g} completions/s for {r.plan.seconds:g} s, sides interleaved"
    p = Page(title, r, f"{len(r.turns[journey.OWN])} rounds; every row and call checked by id")
    p.bars(
        "Throughput, completions a second: median (smallest to largest)",
        [
            _spread(f"{side}, {name}", per_s)
            for side, figures in r.sides.items()
            for name, per_s in (
                ("accepted", figures["accepted_per_s"]),
                ("drained", figures["drained_per_s"]),
            )
        ],
    )
    p.bars(
        "CPU of everything, us a completion",
        [_spread(side, figures["cpu_us_per_completion"]) for side, figures in r.sides.items()],
    )
    return p


def growth_page(r: growth.Result) -> Page:
    judged = f"green: within {100 * (r.bend_max - 1):.0f} %, red: bends, blue: not judged"
    p = Page("CPU of a record as the deployment grows", r, f"medians of {r.rounds} rounds; {judged}")
    p.curves(r.curves)
    return p


PAGES: Mapping[str, tuple[type[Any], Callable[[Any], Page]]] = {
    "e2e": (e2e.Result, e2e_page),
    "shape-spike": (spike.Result, spike_page),
    "shape-users": (users.Result, users_page),
    "peers-journey": (journey.Result, journey_page),
    "growth": (growth.Result, growth_page),
}


def page(result: bytes) -> str:
    """SVG of a result as JSON. Raises NoPage."""
    kind = msgspec.json.decode(result).get("kind")
    if kind not in PAGES:
        raise NoPage(f"There is no page for results of kind {kind}; there is one for {', '.join(PAGES)}.")
    shape, draw = PAGES[kind]
    return draw(msgspec.json.decode(result, type=shape)).svg()


def _checked(lost: int, twice: int) -> str:
    return f"lost {lost}, twice {twice}"


def _rate(label: str, per_s: float) -> Bar:
    return Bar(label, per_s, f"{per_s:,.1f}")


def _spread(label: str, of: Spread) -> Bar:
    return Bar(label, of.median, f"{of.median:,.0f} ({of.min:,.0f} to {of.max:,.0f})")

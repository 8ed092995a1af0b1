"""One page of a result: `python -m benchmarks.plot RESULT.json PAGE.svg`.

Of an end-to-end result latency percentiles, CPU by process and throughput against the offered load; of a
spike, of crowds of users and of the journey beside another design what sets their parts side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import e2e, shapes_spike, shapes_users
from benchmarks.e2e import ACK_P99_MS_MAX, POSTGRES_P99_MS_MAX, PROVIDER_P99_MS_MAX
from benchmarks.peers import journey
from benchmarks.svg_page import Bar, Latency, Page

NOT_KNOWN = 2


def e2e_page(r: e2e.Result) -> str:
    """SVG text; a function of the result alone, as all of these."""
    title = f"{r.plan.rate_per_s:g} completions/s for {r.plan.seconds:g} s, end to end"
    p = Page(title, r.machine, r.commit, r.at, _nothing_wrong(r.lost, r.twice))
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
    return p.svg()


def spike_page(r: shapes_spike.Result) -> str:
    """Before, in and after a spike."""
    title = f"{r.plan.rate_per_s:g} completions/s, {r.plan.times:g} times as many for {r.plan.spike_s:g} s"
    p = Page(title, r.machine, r.commit, r.at, _nothing_wrong(r.lost, r.twice))
    p.latencies("202 from when the request was due", [Latency(part.name, part.ack_ms) for part in r.parts])
    p.bars(
        "Throughput, completions a second",
        [
            _rate(f"{part.name}, {what}", per_s)
            for part in r.parts
            for what, per_s in (
                ("offered", part.offered_per_s),
                ("accepted", part.accepted_per_s),
                ("drained", part.drained_per_s),
            )
        ],
    )
    p.bars(
        f"Records on their way at most; as before {_after(r.recovered_s)}",
        [Bar(part.name, part.backlog_max, f"{part.backlog_max:,}") for part in r.parts],
    )
    return p.svg()


def users_page(r: shapes_users.Result) -> str:
    """Crowds of concurrent users."""
    title = f"Concurrent users who think for {r.think_s:g} s and then answer"
    p = Page(title, r.machine, r.commit, r.at, _nothing_wrong(r.lost, r.twice))
    p.latencies(
        "202 from when it was first sent", [Latency(f"{c.users:,} users", c.ack_ms) for c in r.crowds]
    )
    p.bars(
        "Throughput, completions a second",
        [
            _rate(f"{c.users:,} users, {what}", per_s)
            for c in r.crowds
            for what, per_s in (("accepted", c.accepted_per_s), ("drained", c.drained_per_s))
        ],
    )
    p.bars(
        f"CPU, of {r.machine.cores} cores",
        [Bar(f"{c.users:,} users", c.cores_used, f"{c.cores_used:.2f} cores") for c in r.crowds],
    )
    return p.svg()


def journey_page(r: journey.Result) -> str:
    """The whole journey of each side."""
    title = f"{r.plan.rate_per_s:g} completions/s for {r.plan.seconds:g} s, turns of one run"
    p = Page(title, r.machine, r.commit, r.at, f"{r.rounds} rounds; every row and call checked by id")
    p.bars(
        "Throughput, completions a second: median (smallest to largest)",
        [
            Bar(f"{side}, {what}", told.median, f"{told.median:,.0f} ({told.min:,.0f} to {told.max:,.0f})")
            for side, summary in r.sides.items()
            for what, told in (("accepted", summary.accepted_per_s), ("drained", summary.drained_per_s))
        ],
    )
    p.bars(
        "CPU of everything, us a completion",
        [
            Bar(side, summary.cpu_us_per_completion.median, f"{summary.cpu_us_per_completion.median:,.0f}")
            for side, summary in r.sides.items()
        ],
    )
    return p.svg()


PAGES: Mapping[str, tuple[type[Any], Callable[[Any], str]]] = {
    "e2e": (e2e.Result, e2e_page),
    "shape-spike": (shapes_spike.Result, spike_page),
    "shape-users": (shapes_users.Result, users_page),
    "peers-journey": (journey.Result, journey_page),
}


def page(result: bytes) -> str:
    """Of a result as JSON. Raises KeyError with a kind that has no page."""
    shape, draw = PAGES[msgspec.json.decode(result)["kind"]]
    return draw(msgspec.json.decode(result, type=shape))


def _nothing_wrong(lost: int, twice: int) -> str:
    return f"lost {lost}, twice {twice}"


def _rate(label: str, per_s: float) -> Bar:
    return Bar(label, per_s, f"{per_s:,.1f}")


def _after(recovered_s: float | None) -> str:
    return "not while it was watched" if recovered_s is None else f"{recovered_s:.1f} s after its end"


def main() -> int:
    source, target = map(Path, sys.argv[1:3])
    try:
        drawn = page(source.read_bytes())
    except KeyError as unknown:
        print(f"{source}: no page for {unknown}; there is one for {', '.join(PAGES)}", file=sys.stderr)
        return NOT_KNOWN
    target.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One page of a result: `quizstream bench plot RESULT.json PAGE.svg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from benchmarks.report.svg import Bar, Page
from benchmarks.scenarios.e2e import ACK_P99_MS_MAX, POSTGRES_P99_MS_MAX, PROVIDER_P99_MS_MAX
from pipeline.errors import OperatorError

Result = Mapping[str, Any]


class NoPage(OperatorError):
    """There is no page for this kind of result."""


def e2e(r: Result) -> Page:
    plan = r["plan"]
    p = Page(f"{plan['rate_per_s']:g} completions/s for {plan['seconds']:g} s, end to end", r, _checked(r))
    p.latencies("Latency from when the request was due", "202", r["ack_ms"], ACK_P99_MS_MAX)
    p.latencies(None, "row visible in Postgres", r["to_postgres_ms"], POSTGRES_P99_MS_MAX)
    p.latencies(None, "verdict visible in Postgres", r["to_verdict_row_ms"])
    p.latencies(None, "provider called", r["to_provider_ms"], PROVIDER_P99_MS_MAX)
    cores = f"{r['cores_used']} of {r['machine']['cores']} cores"
    p.bars(
        f"CPU: {cores}, {r['cpu_us_per_completion']:,.0f} us a completion",
        [Bar(name, cpu_s, f"{cpu_s / plan['seconds']:.2f} cores") for name, cpu_s in r["cpu_s"].items()],
    )
    p.bars("Throughput, a second", _rates("", r, "offered", "accepted", "drained", "calls"))
    return p


def spike(r: Result) -> Page:
    plan, parts = r["plan"], r["parts"]
    title = f"{plan['rate_per_s']:g} completions/s, {plan['times']:g} times as many for {plan['spike_s']:g} s"
    p = Page(title, r, _checked(r))
    for position, part in enumerate(parts):
        heading = None if position else "202 from when the request was due"
        p.latencies(heading, part["name"], part["ack_ms"])
    names = ("offered", "accepted", "drained")
    rates = [bar for part in parts for bar in _rates(f"{part['name']}, ", part, *names)]
    p.bars("Throughput, completions a second", rates)
    after = "not within the run" if r["recovered_s"] is None else f"{r['recovered_s']:.1f} s after its end"
    backlogs = [Bar(part["name"], part["backlog_max"], f"{part['backlog_max']:,}") for part in parts]
    p.bars(f"Largest backlog, records; as before the spike {after}", backlogs)
    return p


def users(r: Result) -> Page:
    crowds = {f"{crowd['users']:,} users": crowd for crowd in r["crowds"]}
    p = Page(f"Users who think for {r['think_s']:g} s on average", r, _checked(r))
    for position, (name, crowd) in enumerate(crowds.items()):
        p.latencies(None if position else "202 from when it was first sent", name, crowd["ack_ms"])
    rates = [bar for name, c in crowds.items() for bar in _rates(f"{name}, ", c, "accepted", "drained")]
    p.bars("Throughput, completions a second", rates)
    cores = [Bar(name, c["cores_used"], f"{c['cores_used']:.2f} cores") for name, c in crowds.items()]
    p.bars(f"CPU, of {r['machine']['cores']} cores", cores)
    return p


def overload(r: Result) -> Page:
    offers = {f"{offer['offered_per_s']:,.0f}/s offered": offer for offer in r["offers"]}
    p = Page(f"Offers of {r['plan']['seconds']:g} s each; what is rejected is not sent again", r, _checked(r))
    for position, (name, offer) in enumerate(offers.items()):
        p.latencies(None if position else "202 from when the request was due", name, offer["ack_ms"])
    rates = [
        bar
        for name, offer in offers.items()
        for bar in _rates(f"{name}, ", offer, "accepted", "rejected", "drained")
    ]
    p.bars("Throughput, completions a second", rates)
    backlogs = [
        Bar(
            name,
            offer["backlog_max"],
            f"{offer['backlog_max']:,}, gone {offer['recovered_s']:g} s after the end",
        )
        for name, offer in offers.items()
    ]
    p.bars("Largest backlog, records", backlogs)
    return p


def journey(r: Result) -> Page:
    plan, sides = r["plan"], r["sides"]
    title = f"{plan['rate_per_s']:g} completions/s for {plan['seconds']:g} s, sides interleaved"
    p = Page(title, r, "every row and call checked by id")
    rates = [
        _spread(f"{name}, {each}", side[f"{each}_per_s"])
        for name, side in sides.items()
        for each in ("accepted", "drained")
    ]
    p.bars("Throughput, completions a second: median (smallest to largest)", rates)
    cpu = [_spread(name, side["cpu_us_per_completion"]) for name, side in sides.items()]
    p.bars("CPU of everything, us a completion", cpu)
    return p


def growth(r: Result) -> Page:
    judged = f"green: within {100 * (r['bend_max'] - 1):.0f} %, red: bends, blue: not judged"
    p = Page("CPU of a record as the deployment grows", r, f"medians of {r['rounds']} rounds; {judged}")
    p.curves(r["curves"])
    return p


PAGES: Mapping[str, Callable[[Result], Page]] = {
    "e2e": e2e,
    "shape-spike": spike,
    "shape-users": users,
    "shape-overload": overload,
    "peers-journey": journey,
    "growth": growth,
}


def page(result: bytes) -> str:
    """SVG of a result as JSON. Raises NoPage."""
    read = msgspec.json.decode(result)
    kind = read.get("kind")
    if kind not in PAGES:
        raise NoPage(f"There is no page for results of kind {kind}; there is one for {', '.join(PAGES)}.")
    return PAGES[kind](read).svg()


def _checked(r: Result) -> str:
    return f"lost {r['lost']}, twice {r['twice']}"


def _rates(label: str, of: Result, *names: str) -> list[Bar]:
    return [Bar(f"{label}{name}", of[f"{name}_per_s"], f"{of[f'{name}_per_s']:,.1f}") for name in names]


def _spread(label: str, of: Result) -> Bar:
    return Bar(label, of["median"], f"{of['median']:,.0f} ({of['min']:,.0f} to {of['max']:,.0f})")

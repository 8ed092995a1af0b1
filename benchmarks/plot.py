"""One page of an end-to-end result: `python -m benchmarks.plot RESULT.json PAGE.svg`.

Latency percentiles, CPU by process and throughput against the offered load. Plain SVG, made here: three bar
charts are no reason for a plotting library among the dependencies.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import msgspec

from benchmarks.e2e import ACK_P99_MS_MAX, POSTGRES_P99_MS_MAX, PROVIDER_P99_MS_MAX, Result
from benchmarks.percentiles import Percentiles

WIDTH = 860
BAR = 18
LEFT = 220
ROOM = 520  # of the longest bar
INK, FAINT, FILL, LIMIT = "#222222", "#888888", "#3b6ea5", "#c0392b"
DECADES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)  # ms


class _Page:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self.y = 24.0

    def text(self, x: float, said: str, *, size: int = 13, end: bool = False, ink: str = INK) -> None:
        anchor = "end" if end else "start"
        self._parts.append(
            f'<text x="{x:.0f}" y="{self.y:.0f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{ink}">{escape(said)}</text>'
        )

    def bar(self, width: float, ink: str = FILL, opacity: float = 1.0) -> None:
        self._parts.append(
            f'<rect x="{LEFT}" y="{self.y - 12:.0f}" width="{max(1.0, width):.1f}" height="{BAR - 4}" '
            f'fill="{ink}" opacity="{opacity}"/>'
        )

    def mark(self, x: float, ink: str) -> None:
        self._parts.append(
            f'<line x1="{LEFT + x:.1f}" x2="{LEFT + x:.1f}" y1="{self.y - 15:.0f}" y2="{self.y + 5:.0f}" '
            f'stroke="{ink}" stroke-width="2"/>'
        )

    def heading(self, said: str) -> None:
        self.y += 18
        self.text(16, said, size=15)
        self.y += 24

    def svg(self) -> str:
        height = self.y + 16
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            'font-family="sans-serif">\n'
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def page(result: Result) -> str:
    """SVG text; a function of the result alone."""
    p, r = _Page(), result
    p.text(16, f"{r.plan.rate_per_s:g} completions/s for {r.plan.seconds:g} s, end to end", size=17)
    p.y += 20
    machine = f"{r.machine.cpu}, {r.machine.cores} cores, commit {r.commit}, {r.at}"
    p.text(16, f"{machine}; lost {r.lost}, twice {r.twice}", size=12, ink=FAINT)
    p.y += 8
    _latencies(p, r)
    _cpu(p, r)
    _rates(p, r)
    return p.svg()


def _latencies(p: _Page, r: Result) -> None:
    p.heading("Latency from when the request was due, ms, logarithmic; red: the limit of p99")
    for name, told, limit_ms in (
        ("202", r.ack_ms, ACK_P99_MS_MAX),
        ("row visible in Postgres", r.to_postgres_ms, POSTGRES_P99_MS_MAX),
        ("verdict visible in Postgres", r.to_verdict_row_ms, None),
        ("provider called", r.to_provider_ms, PROVIDER_P99_MS_MAX),
    ):
        for percentile, value in _values(told):
            p.text(LEFT - 8, f"{name}, {percentile}", end=True)
            p.bar(_log_width(value), opacity={"p50": 0.5, "p99": 1.0}.get(percentile, 0.3))
            p.text(LEFT + _log_width(value) + 6, f"{value:,.1f}", size=12)
            if limit_ms is not None and percentile == "p99":
                p.mark(_log_width(limit_ms), LIMIT)
            p.y += BAR
        p.y += 4


def _values(told: Percentiles) -> Sequence[tuple[str, float]]:
    pairs = (("p50", told.p50), ("p99", told.p99), ("max", told.max))
    return [(name, value) for name, value in pairs if value is not None]


def _log_width(ms: float) -> float:
    return ROOM * math.log10(max(ms, DECADES[0])) / math.log10(DECADES[-1])


def _cpu(p: _Page, r: Result) -> None:
    p.heading(
        f"CPU: {r.cores_used} of {r.machine.cores} cores, {r.cpu_us_per_completion:,.0f} us a completion"
    )
    largest = max(r.cpu_s.values())
    for name, cpu_s in r.cpu_s.items():
        share = cpu_s / r.plan.seconds
        p.text(LEFT - 8, name, end=True)
        p.bar(ROOM * cpu_s / largest)
        p.text(LEFT + ROOM * cpu_s / largest + 6, f"{share:.2f} cores", size=12)
        p.y += BAR


def _rates(p: _Page, r: Result) -> None:
    p.heading("Throughput, completions a second")
    for name, per_s in (
        ("offered", r.offered_per_s),
        ("accepted", r.accepted_per_s),
        ("drained to Postgres", r.drained_per_s),
        ("messages sent", r.calls_per_s),
    ):
        width = ROOM * per_s / max(r.offered_per_s, r.drained_per_s)
        p.text(LEFT - 8, name, end=True)
        p.bar(width)
        p.text(LEFT + width + 6, f"{per_s:,.1f}", size=12)
        p.y += BAR


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    target.write_text(page(msgspec.json.decode(source.read_bytes(), type=Result)), encoding="utf-8")


if __name__ == "__main__":
    main()

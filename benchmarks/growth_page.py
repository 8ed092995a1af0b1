"""The curves of a growth result on one page: `python -m benchmarks.growth_page RESULT.json PAGE.svg`.

CPU a record against what grows, on a logarithmic axis; a point's bar is the extremes of its rounds.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import msgspec

from benchmarks.growth import Result
from benchmarks.growth_rounds import Curve, Point
from benchmarks.svg import FAINT, FILL, LIMIT, document, text

WIDTH, CHART, HEIGHT, GAP = 860, 380, 150, 70
LEFT, TOP = 50, 80
COLOUR = {True: "#2e7d4f", False: LIMIT, None: FILL}


def page(result: Result) -> str:
    """SVG text; a function of the result alone."""
    r = result
    rows = math.ceil(len(r.curves) / 2)
    height = TOP + rows * (HEIGHT + GAP)
    machine = f"{r.machine.cpu}, {r.machine.cores} cores, load before {r.machine.load_1m:g}"
    parts = [
        text(16, 26, "CPU a record as the deployment grows", size=17),
        text(
            16,
            46,
            f"{machine}, commit {r.commit}, {r.at[:16]}; medians of {r.rounds} rounds; "
            f"green: within {100 * (r.bend_max - 1):.0f} %, red: bends, blue: not judged",
            size=11,
            ink=FAINT,
        ),
    ]
    for position, curve in enumerate(r.curves):
        x = LEFT + (position % 2) * (CHART + 50)
        y = TOP + (position // 2) * (HEIGHT + GAP)
        parts += _chart(curve, x, y)
    return document(WIDTH + 40, height, parts)


def _chart(curve: Curve, left: float, top: float) -> list[str]:
    colour, bottom = COLOUR[curve.flat], top + HEIGHT
    most_us = max(point.us.max for point in curve.points)
    sizes = [math.log10(point.size) for point in curve.points]
    low, span = sizes[0], max(1e-9, sizes[-1] - sizes[0])

    def place(point: Point, us: float) -> tuple[float, float]:
        x = left + 30 + (CHART - 70) * (math.log10(point.size) - low) / span
        return x, bottom - (HEIGHT - 30) * us / most_us

    parts = [
        text(left, top, f"{curve.name}: {curve.bend:.2f} times", size=13),
        f'<line x1="{left}" y1="{bottom}" x2="{left + CHART - 10}" y2="{bottom}" stroke="{FAINT}"/>',
        text(left + CHART - 10, bottom + 30, curve.grows, size=11, ink=FAINT, anchor="end"),
    ]
    line = " ".join("{:.1f},{:.1f}".format(*place(point, point.us.median)) for point in curve.points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for point in curve.points:
        x, y = place(point, point.us.median)
        least, most = place(point, point.us.min)[1], place(point, point.us.max)[1]
        parts += [
            f'<line x1="{x:.1f}" y1="{least:.1f}" x2="{x:.1f}" y2="{most:.1f}" stroke="{colour}"/>',
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>',
            text(x, y - 10, f"{point.us.median:g} us", size=11, anchor="middle"),
            text(x, bottom + 15, f"{point.size:,}", size=11, ink=FAINT, anchor="middle"),
        ]
    return parts


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    target.write_text(page(msgspec.json.decode(source.read_bytes(), type=Result)), encoding="utf-8")


if __name__ == "__main__":
    main()

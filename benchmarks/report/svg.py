"""A page of charts as plain SVG: bars and curves as simple as these do not justify a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

INK, FAINT, FILL, LIMIT, FLAT = "#222222", "#888888", "#3b6ea5", "#c0392b", "#2e7d4f"
WIDTH = 900
BAR, LEFT, ROOM = 18, 220, 520  # height, begin and greatest length of bars
LATENCY_MS_MAX = 100_000.0  # the end of the logarithmic scale, which begins at 1 ms
OPACITIES = {"p50": 0.5, "p99": 1.0, "max": 0.3}
CHART, CHART_HEIGHT, CHART_GAP = 380, 150, 70
COLOURS = {True: FLAT, False: LIMIT, None: FILL}


class Bar(NamedTuple):
    """`shown` is the text behind the bar."""

    label: str
    value: float
    shown: str


class Page:
    """Charts below each other. All lengths are in px; parts of results are as in their JSON."""

    def __init__(self, title: str, result: Mapping[str, Any], checked: str) -> None:
        """`checked`: the outcome of the checks."""
        machine = result["machine"]
        self._parts: list[str] = []
        self._y = 24.0
        self._text(16, title, size=17)
        self._y += 20
        measured = f"{machine['cpu']}, {machine['cores']} cores, commit {result['commit']}, {result['at']}"
        self._text(16, f"{measured}; {checked}", size=12, ink=FAINT)
        self._y += 8

    def bars(self, heading: str, bars: Sequence[Bar]) -> None:
        """From zero; the longest takes all the room."""
        self._heading(heading)
        largest = max(bar.value for bar in bars)
        for bar in bars:
            self._bar(bar.label, ROOM * bar.value / largest, bar.shown)

    def latencies(
        self, heading: str | None, label: str, ms: Mapping[str, Any], limit_ms: float | None = None
    ) -> None:
        """Percentiles on a logarithmic scale, the limit of the p99 as a red mark; None: no new chart."""
        if heading is not None:
            self._heading(f"{heading}, ms, logarithmic; red: the limit of p99")
        for name, opacity in OPACITIES.items():
            if ms[name] is None:
                continue
            if limit_ms is not None and name == "p99":
                x = LEFT + _log_width(limit_ms)
                self._line(x, self._y - 15, x, self._y + 5, LIMIT, 2)
            self._bar(f"{label}, {name}", _log_width(ms[name]), f"{ms[name]:,.1f}", opacity)
        self._y += 4

    def curves(self, curves: Sequence[Mapping[str, Any]]) -> None:
        """Two in a row; CPU from zero against size on a logarithmic axis; bars: extremes of the rounds."""
        top = self._y + 24
        for position, curve in enumerate(curves):
            row, column = divmod(position, 2)
            self._curve(curve, 50 + column * (CHART + 50), top + row * (CHART_HEIGHT + CHART_GAP))
        self._y = top + math.ceil(len(curves) / 2) * (CHART_HEIGHT + CHART_GAP)

    def svg(self) -> str:
        body, height = "\n".join(self._parts), f"{self._y + 16:.0f}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="sans-serif">\n<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
            f"{body}\n</svg>\n"
        )

    def _curve(self, curve: Mapping[str, Any], left: float, top: float) -> None:
        points, colour, bottom = curve["points"], COLOURS[curve["flat"]], top + CHART_HEIGHT
        most_us = max(point["us"]["max"] for point in points)
        sizes = [math.log10(point["size"]) for point in points]
        span = max(1e-9, sizes[-1] - sizes[0])
        xs = [left + 30 + (CHART - 70) * (size - sizes[0]) / span for size in sizes]

        def y_of(us: float) -> float:
            return float(bottom - (CHART_HEIGHT - 30) * us / most_us)

        self._text(left, f"{curve['name']}: {curve['bend']:.2f} times", y=top)
        self._line(left, bottom, left + CHART - 10, bottom, FAINT)
        self._text(left + CHART - 10, curve["grows"], y=bottom + 30, size=11, ink=FAINT, anchor="end")
        line = " ".join(f"{x:.1f},{y_of(p['us']['median']):.1f}" for x, p in zip(xs, points, strict=True))
        self._parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, point in zip(xs, points, strict=True):
            us, y = point["us"], y_of(point["us"]["median"])
            self._line(x, y_of(us["min"]), x, y_of(us["max"]), colour)
            self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            self._text(x, f"{us['median']:g} us", y=y - 10, size=11, anchor="middle")
            self._text(x, f"{point['size']:,}", y=bottom + 15, size=11, ink=FAINT, anchor="middle")

    def _heading(self, heading: str) -> None:
        self._y += 18
        self._text(16, heading, size=15)
        self._y += 24

    def _bar(self, label: str, width: float, shown: str, opacity: float = 1.0) -> None:
        self._text(LEFT - 8, label, anchor="end")
        self._parts.append(
            f'<rect x="{LEFT}" y="{self._y - 12:.0f}" width="{max(1.0, width):.1f}" height="{BAR - 4}" '
            f'fill="{FILL}" opacity="{opacity}"/>'
        )
        self._text(LEFT + width + 6, shown, size=12)
        self._y += BAR

    def _line(self, x1: float, y1: float, x2: float, y2: float, ink: str, width: int = 1) -> None:
        at = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self._parts.append(f'<line {at} stroke="{ink}" stroke-width="{width}"/>')

    def _text(
        self, x: float, text: str, *, y: float = -1, size: int = 13, ink: str = INK, anchor: str = "start"
    ) -> None:
        """At the current height where `y` is negative."""
        self._parts.append(
            f'<text x="{x:.0f}" y="{self._y if y < 0 else y:.0f}" font-size="{size}" '
            f'text-anchor="{anchor}" fill="{ink}">{escape(text)}</text>'
        )


def _log_width(ms: float) -> float:
    return ROOM * math.log10(max(ms, 1.0)) / math.log10(LATENCY_MS_MAX)

"""A page of bar charts as plain SVG: charts this simple are no reason for a plotting library among the
dependencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.machine import Machine
from benchmarks.percentiles import Percentiles
from benchmarks.svg import FAINT, FILL, INK, LIMIT, document, text

WIDTH = 860
BAR = 18
LEFT = 220
ROOM = 520  # of the longest bar
DECADES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)  # ms
OPACITIES = {"p50": 0.5, "p99": 1.0, "max": 0.3}


class Bar(NamedTuple):
    """`shown` stands behind the bar."""

    label: str
    value: float
    shown: str


class Latency(NamedTuple):
    """`limit_ms` is of the p99."""

    label: str
    told: Percentiles
    limit_ms: float | None = None


class Page:
    def __init__(self, title: str, machine: Machine, commit: str, at: str, checked: str) -> None:
        """`checked` says what was found before anything was drawn."""
        self._parts: list[str] = []
        self._y = 24.0
        self._text(16, title, size=17)
        self._y += 20
        measured = f"{machine.cpu}, {machine.cores} cores, commit {commit}, {at}"
        self._text(16, f"{measured}; {checked}", size=12, ink=FAINT)
        self._y += 8

    def bars(self, heading: str, bars: Sequence[Bar]) -> None:
        """From zero; the longest takes all the room."""
        self._heading(heading)
        largest = max(bar.value for bar in bars)
        for bar in bars:
            self._bar(bar.label, ROOM * bar.value / largest, bar.shown)

    def latencies(self, heading: str, latencies: Sequence[Latency]) -> None:
        """In ms, on a logarithmic scale, the limit as a red mark."""
        self._heading(f"{heading}, ms, logarithmic; red: the limit of p99")
        for label, told, limit_ms in latencies:
            for name, value in (("p50", told.p50), ("p99", told.p99), ("max", told.max)):
                if value is None:
                    continue
                if limit_ms is not None and name == "p99":
                    self._mark(_log_width(limit_ms))
                self._bar(f"{label}, {name}", _log_width(value), f"{value:,.1f}", OPACITIES[name])
            self._y += 4

    def svg(self) -> str:
        return document(WIDTH, self._y + 16, self._parts)

    def _heading(self, said: str) -> None:
        self._y += 18
        self._text(16, said, size=15)
        self._y += 24

    def _bar(self, label: str, width: float, shown: str, opacity: float = 1.0) -> None:
        self._text(LEFT - 8, label, end=True)
        self._parts.append(
            f'<rect x="{LEFT}" y="{self._y - 12:.0f}" width="{max(1.0, width):.1f}" height="{BAR - 4}" '
            f'fill="{FILL}" opacity="{opacity}"/>'
        )
        self._text(LEFT + width + 6, shown, size=12)
        self._y += BAR

    def _mark(self, x: float) -> None:
        self._parts.append(
            f'<line x1="{LEFT + x:.1f}" x2="{LEFT + x:.1f}" y1="{self._y - 15:.0f}" y2="{self._y + 5:.0f}" '
            f'stroke="{LIMIT}" stroke-width="2"/>'
        )

    def _text(self, x: float, said: str, *, size: int = 13, end: bool = False, ink: str = INK) -> None:
        self._parts.append(text(x, self._y, said, size=size, ink=ink, anchor="end" if end else "start"))


def _log_width(ms: float) -> float:
    return ROOM * math.log10(max(ms, DECADES[0])) / math.log10(DECADES[-1])

"""The two pieces of SVG that every page of the benchmarks is made of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Literal

INK, FAINT, FILL, LIMIT = "#222222", "#888888", "#3b6ea5", "#c0392b"


Anchor = Literal["start", "middle", "end"]


def text(x: float, y: float, said: str, *, size: int = 13, ink: str = INK, anchor: Anchor = "start") -> str:
    """In px; `anchor` says which part of the text is at x."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="{ink}">'
        f"{escape(said)}</text>"
    )


def document(width: float, height: float, parts: Iterable[str]) -> str:
    """A page in px, white."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="sans-serif">\n<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>\n'
        f"{body}\n</svg>\n"
    )

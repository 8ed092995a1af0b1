"""The stylesheet of a quiz's colour, light and dark; any colour is changed until its contrast is readable."""

from __future__ import annotations

import re
from functools import lru_cache

CONTRAST_MIN = 4.5  # WCAG 2.2, 1.4.3
STEPS = 100  # between a colour and black or white

LIGHT_CARD = (255, 255, 255)
DARK_CARD = (28, 31, 38)  # as --card in page.css
INK = (17, 19, 24)
PAPER = (255, 255, 255)

Rgb = tuple[int, int, int]

_HEX = re.compile(r"[0-9a-f]{6}")


@lru_cache(maxsize=1024)
def stylesheet(colour: str) -> bytes | None:
    """Return the stylesheet of six hexadecimal digits; None for any other text."""
    if not _HEX.fullmatch(colour):
        return None
    chosen = (int(colour[:2], 16), int(colour[2:4], 16), int(colour[4:], 16))
    light = readable(chosen, LIGHT_CARD, (0, 0, 0))
    dark = readable(chosen, DARK_CARD, PAPER)
    return (
        f":root{{{_variables(light)}}}\n@media (prefers-color-scheme:dark){{:root{{{_variables(dark)}}}}}\n"
    ).encode()


def _variables(accent: Rgb) -> str:
    text = PAPER if contrast(accent, PAPER) >= contrast(accent, INK) else INK
    return f"--accent:{_hex(accent)};--on-accent:{_hex(text)}"


def readable(colour: Rgb, ground: Rgb, towards: Rgb) -> Rgb:
    """Return the nearest mixture with `towards` that is readable on `ground`."""
    for step in range(STEPS + 1):
        mixed = _mixed(colour, towards, step / STEPS)
        if contrast(mixed, ground) >= CONTRAST_MIN:
            return mixed
    return towards


def contrast(one: Rgb, other: Rgb) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Rgb) -> float:
    red, green, blue = (_linear(part / 255) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return float(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)


def _mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _hex(colour: Rgb) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)

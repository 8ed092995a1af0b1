"""Any colour of a quiz is readable, light and dark."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.quiz_pages.accent import CONTRAST_MIN, DARK_CARD, LIGHT_CARD, contrast, stylesheet

PARTS = st.integers(0, 255)


def colours(css: bytes) -> list[tuple[int, int, int]]:
    """Accent and its text, light and then dark."""
    found = re.findall(rb"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", css)
    return [(int(red, 16), int(green, 16), int(blue, 16)) for red, green, blue in found]


@given(PARTS, PARTS, PARTS)
def test_the_accent_is_readable_on_a_card_and_under_its_text(red: int, green: int, blue: int) -> None:
    css = stylesheet(f"{red:02x}{green:02x}{blue:02x}")
    assert css is not None
    light, on_light, dark, on_dark = colours(css)
    assert contrast(light, LIGHT_CARD) >= CONTRAST_MIN
    assert contrast(dark, DARK_CARD) >= CONTRAST_MIN
    assert contrast(light, on_light) >= CONTRAST_MIN
    assert contrast(dark, on_dark) >= CONTRAST_MIN


def test_a_readable_colour_stays_as_it_is() -> None:
    css = stylesheet("0b6e69")
    assert css is not None
    assert colours(css)[0] == (0x0B, 0x6E, 0x69)


@pytest.mark.parametrize("text", ["", "fff", "0B6E69", "0b6e690", "0b6e6g", "0b6e69;", "\u0660" * 6])
def test_any_other_text_is_no_stylesheet(text: str) -> None:
    assert stylesheet(text) is None


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)

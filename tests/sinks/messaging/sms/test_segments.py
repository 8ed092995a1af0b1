"""How many segments a text has: a mistake is money, or a message that the provider rejects."""

from __future__ import annotations

import pytest

from sinks.messaging.sms.segments import SEGMENTS_MAX, problem_of, segments_of


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("é" * 160, 1),  # of GSM 03.38
        ("€" * 80, 1),  # two septets each
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 10, 2),  # the two septets of a character are not divided
        ("a" * 152 + "€" + "a" * 151 + "a", 3),
        ("ã" * 70, 1),  # UCS-2
        ("ã" * 71, 2),
        ("ã" * 134, 2),
        ("ã" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),  # 33 in a segment of 67 code units
        ("😀" * 67, 3),
        ("a" * 159 + "`", 3),  # one character outside makes all of it UCS-2
    ],
)
def test_segments(text: str, segments: int) -> None:
    assert segments_of(text) == segments


def test_a_text_of_too_many_segments_is_a_problem() -> None:
    assert problem_of("a" * 153 * SEGMENTS_MAX) is None
    assert problem_of("a" * (153 * SEGMENTS_MAX + 1)) == "the text has 11 SMS segments of at most 10"
    assert problem_of("ã" * 671) is not None

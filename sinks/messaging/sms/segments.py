"""Segments of an SMS: how many messages a text is sent and billed as (3GPP TS 23.038). Pure."""

from __future__ import annotations

SEGMENTS_MAX = 10  # the provider's: 1,600 characters, and no more segments

# A septet each, and those of the extension table two.
_ONE = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWO = frozenset("\f^{}\\[~]|€")
GSM_ALONE, GSM_EACH = 160, 153  # septets of a single segment, and of each of several
UCS2_ALONE, UCS2_EACH = 70, 67  # code units of UTF-16


def segments_of(text: str) -> int:
    """One character outside of GSM 03.38, such as `ã`, makes the whole text UCS-2."""
    if all(char in _ONE or char in _TWO for char in text):
        return _parts([2 if char in _TWO else 1 for char in text], GSM_ALONE, GSM_EACH)
    return _parts([2 if ord(char) > 0xFFFF else 1 for char in text], UCS2_ALONE, UCS2_EACH)


def problem_of(text: str) -> str | None:
    """Why the text is too long, without personal data; None if it is not."""
    segments = segments_of(text)
    return (
        None
        if segments <= SEGMENTS_MAX
        else f"the text has {segments} SMS segments of at most {SEGMENTS_MAX}"
    )


def _parts(sizes: list[int], alone: int, each: int) -> int:
    """No character is divided between two segments."""
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, each
    for size in sizes:
        if size > room:
            parts, room = parts + 1, each
        room -= size
    return parts

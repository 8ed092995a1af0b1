"""The squares of a QR code out of its picture, for a provider that gives nothing else. Pure."""

from __future__ import annotations

import struct
import zlib

PIXELS_MAX = 4_000_000
FINDER_SQUARES = 7  # the side of the pattern in a code's corner
SQUARES_MIN, SQUARES_MAX = 21, 177
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type

Squares = list[list[bool]]
"""Rows of dark (True) and light squares, without the border."""


class NotACode(ValueError):
    """The picture is not that of a QR code, or has a form that is not read here."""


def squares_of(png: bytes) -> Squares:
    """Raises NotACode."""
    try:
        dark = _dark_pixels(png)
    except (struct.error, zlib.error, IndexError) as error:
        raise NotACode("it is not a whole PNG") from error
    rows = [row for row, line in enumerate(dark) if any(line)]
    columns = [column for column in range(len(dark[0]) if dark else 0) if any(line[column] for line in dark)]
    if not rows or not columns:
        raise NotACode("nothing in it is dark")
    top, left = rows[0], columns[0]
    run = next((n for n, is_dark in enumerate(dark[top][left:]) if not is_dark), 0)
    size, rest = divmod(run, FINDER_SQUARES)
    side = columns[-1] - left + 1
    if size == 0 or rest or side % size or not SQUARES_MIN <= side // size <= SQUARES_MAX:
        raise NotACode("it has no pattern of a code in its corner")
    if rows[-1] - top + 1 != side:
        raise NotACode("it is not a square")
    middle = size // 2
    count = side // size
    return [
        [dark[top + y * size + middle][left + x * size + middle] for x in range(count)] for y in range(count)
    ]


def _dark_pixels(png: bytes) -> list[list[bool]]:
    width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    if (
        colours not in _CHANNELS
        or depth not in (1, 2, 4, 8)
        or interlaced
        or not 0 < width * height <= PIXELS_MAX
    ):
        raise NotACode("its form is not read here")
    data, palette, kind, at = b"", b"", b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        data += content if kind == b"IDAT" else b""
        palette = content if kind == b"PLTE" else palette
        at += length + 12
    if kind != b"IEND":
        raise NotACode("it is not a whole PNG")
    bits = depth * _CHANNELS[colours]
    line_bytes, step = (width * bits + 7) // 8, max(1, bits // 8)
    raw = zlib.decompressobj().decompress(data, (line_bytes + 1) * height)
    before, lines = bytearray(line_bytes), []
    for row in range(height):
        start = row * (line_bytes + 1)
        line = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + line_bytes]), before, step)
        lines.append([_is_dark(line, column, depth, colours, palette) for column in range(width)])
        before = line
    return lines


def _unfiltered(kind: int, line: bytearray, before: bytearray, step: int) -> bytearray:
    for n in range(len(line)):
        left = line[n - step] if n >= step else 0
        corner = before[n - step] if n >= step else 0
        above = before[n]
        if kind == 1:
            line[n] = (line[n] + left) & 255
        elif kind == 2:
            line[n] = (line[n] + above) & 255
        elif kind == 3:
            line[n] = (line[n] + (left + above) // 2) & 255
        elif kind == 4:
            guess = left + above - corner
            nearest = min((abs(guess - one), place, one) for place, one in enumerate((left, above, corner)))
            line[n] = (line[n] + nearest[2]) & 255
    return line


def _is_dark(line: bytearray, column: int, depth: int, colours: int, palette: bytes) -> bool:
    if depth < 8:
        place = column * depth
        value = line[place // 8] >> (8 - depth - place % 8) & ((1 << depth) - 1)
        if colours == 3:
            return sum(palette[3 * value : 3 * value + 3]) < 384
        return value * 2 < 1 << depth
    channels = _CHANNELS[colours]
    pixel = line[column * channels : column * channels + channels]
    if colours == 3:
        return sum(palette[3 * pixel[0] : 3 * pixel[0] + 3]) < 384
    if colours in (4, 6) and pixel[-1] < 128:
        return False  # nothing is there
    return sum(pixel[: 3 if colours in (2, 6) else 1]) < (384 if colours in (2, 6) else 128)

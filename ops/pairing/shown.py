"""A pairing code for people: in the terminal, and as a picture."""

from __future__ import annotations

import io
import os
from pathlib import Path

import segno

from ops.pairing.pair import NotPaired
from ops.pairing.png import squares_of
from sinks.pairing import PairingCode

BORDER = 2
PIXELS_PER_SQUARE = 8
_HALVES = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}


def in_terminal(code: PairingCode) -> str:
    """Two rows of squares in a line. Raises NotACode for a picture that is not read."""
    squares = (
        [[bool(square) for square in row] for row in segno.make_qr(code.text).matrix]
        if code.text
        else squares_of(code.image)
    )
    width = len(squares) + 2 * BORDER
    light = [[False] * width] * BORDER
    rows = [*light, *([False] * BORDER + row + [False] * BORDER for row in squares), *light]
    if len(rows) % 2:
        rows.append([False] * width)
    return "\n".join(
        "".join(_HALVES[upper, lower] for upper, lower in zip(rows[n], rows[n + 1], strict=True))
        for n in range(0, len(rows), 2)
    )


def as_image(code: PairingCode) -> bytes:
    """PNG."""
    if code.image:
        return code.image
    out = io.BytesIO()
    segno.make_qr(code.text).save(out, kind="png", scale=PIXELS_PER_SQUARE, border=BORDER)
    return out.getvalue()


def write_image(path: Path, image: bytes) -> None:
    """Whole or not at all, for its owner alone. Raises NotPaired."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(image)
        beside.replace(path)
    except OSError as error:
        raise NotPaired(f"cannot write the code to {path}: {error.strerror}") from None

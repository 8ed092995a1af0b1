"""Valid Brazilian mobile numbers derived from a quiz and a row, the same at every replay."""

from __future__ import annotations

import hashlib

ROWS_MAX = 10_000_000

# All area codes in use (Anatel).
_AREAS = (
    *(11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24, 27, 28, 31, 32, 33, 34, 35, 37, 38),
    *(41, 42, 43, 44, 45, 46, 47, 48, 49, 51, 53, 54, 55, 61, 62, 63, 64, 65, 66, 67, 68, 69),
    *(71, 73, 74, 75, 77, 79, 81, 82, 83, 84, 85, 86, 87, 88, 89, 91, 92, 93, 94, 95, 96, 97, 98, 99),
)


def demo_phone(quiz_id: str, row: int) -> str:
    """Return the number of row 0..9,999,999 as E.164; no two rows of one quiz have the same number.

    The last seven digits are a permutation of the row that differs from quiz to quiz.
    """
    if not 0 <= row < ROWS_MAX:
        raise ValueError(f"row {row} is outside 0..{ROWS_MAX - 1}")
    seed = hashlib.sha256(quiz_id.encode()).digest()
    factor = int.from_bytes(seed[0:4], "big") % (ROWS_MAX // 10) * 10 + 7  # ends in 7: coprime with 10^7
    shift = int.from_bytes(seed[4:8], "big")
    low = (row * factor + shift) % ROWS_MAX
    area = _AREAS[(seed[8] + row) % len(_AREAS)]
    return f"+55{area}9{6 + (seed[9] + row) % 4}{low:07d}"

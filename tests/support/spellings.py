"""Ways in which people write one phone number; made from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

AREAS = [
    *(11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24, 27, 28, 31, 32, 33, 34, 35, 37, 38),
    *(41, 42, 43, 44, 45, 46, 47, 48, 49, 51, 53, 54, 55, 61, 62, 63, 64, 65, 66, 67, 68, 69),
    *(71, 73, 74, 75, 77, 79, 81, 82, 83, 84, 85, 86, 87, 88, 89, 91, 92, 93, 94, 95, 96, 97, 98, 99),
]
CARRIERS_ABROAD = ["12", "14", "15", "21", "22", "23", "25", "31", "41", "43", "65", "99"]
FORMAT_CHARACTERS = [
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    *map(chr, range(0x200B, 0x2010)),
    "\ufeff",
]
ZEROS = ["0", "\uff10", "\u0660", "\u06f0", "\u0966", "\U0001d7ce"]  # of six sets of decimal digits
ABROAD_RATIO = 0.1
# Country code and the first digits of its mobiles; five digits follow.
ABROAD = ["35191234", "4915112", "336123", "3460012", "5989912"]
_LENGTHS = {"351": 12, "49": 13, "33": 11, "34": 11, "598": 11}


def ten_spellings(national: str, rng: random.Random) -> list[str]:
    """Of a Brazilian mobile: area code, 9 and eight digits."""
    area, first, last = national[:2], national[2:7], national[7:]
    mark = rng.choice(FORMAT_CHARACTERS)
    zero = ord(rng.choice(ZEROS[1:]))
    return [
        f"+55{national}",
        f"55{national}",
        national,
        f"({area}) {first}-{last}",
        f"0{area} {first} {last}",
        f"0{rng.choice(CARRIERS_ABROAD)} {area} {first}.{last}",
        f"0055 {area} {first}-{last}",
        f"+0055 ({area}) {first}{last}",
        f"{mark}+55 {area} {mark}{first}\u2011{last}{mark}",
        "".join(chr(zero + int(digit)) for digit in national),
    ]


def ten_spellings_abroad(digits: str, rng: random.Random) -> list[str]:
    """Of a mobile of another country, country code and number: always with `+`."""
    mark = rng.choice(FORMAT_CHARACTERS)
    zero = ord(rng.choice(ZEROS[1:]))
    cuts = sorted(rng.sample(range(2, len(digits) - 1), 3))
    parts = [digits[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    return [
        f"+{digits}",
        *(f"+{joint.join(parts)}" for joint in (" ", "-", ".", " \u2011 ", "/")),
        f"++{digits}",
        f"(+{parts[0]}) {''.join(parts[1:])}",
        f"{mark}+{mark.join(parts)}{mark}",
        "\uff0b" + "".join(chr(zero + int(digit)) for digit in digits),
    ]


def people(count: int, seed: int, first: int = 0) -> Iterator[tuple[str, list[str]]]:
    """E.164 and ten spellings of different people; one in ten has a number of another country.

    `first` tells the people of several calls apart: the person's place is in the number.
    """
    rng = random.Random(seed)
    for place in range(first, first + count):
        if rng.random() < ABROAD_RATIO:
            prefix = rng.choice(ABROAD)
            length = next(size for code, size in _LENGTHS.items() if prefix.startswith(code))
            digits = f"{prefix}{place:0{length - len(prefix)}d}"
            yield f"+{digits}", ten_spellings_abroad(digits, rng)
        else:
            national = f"{rng.choice(AREAS)}9{rng.choice('6789')}{place:07d}"
            yield f"+55{national}", ten_spellings(national, rng)

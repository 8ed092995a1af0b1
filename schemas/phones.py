"""One canonical form (E.164) for a phone, however it is written: the contact id is made from it.

Brazil gave its mobiles a ninth digit between 2012 and 2016, and providers still know many of them without it:
a number that is invalid as it stands, and valid with the 9, is the one with the 9. Numbers of other countries
need their `+`: digits alone could be a mistyped Brazilian number and a stranger's valid one.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

REGION_DEFAULT = "BR"
PHONE_CHARS_MAX = 40
CACHE_ENTRIES_MAX = 65_536  # parsing is 50-100 us, and a contact comes back

# Digits of any script; no letters: `+1 800 FLOWERS` is a number to phonenumbers and a mistake here.
_WRITTEN = re.compile(r"[\d+\uff0b()./\s\-\u2010-\u2015\u2212\u2060\u00ad]+")


def _whole_number() -> re.Pattern[str]:
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(REGION_DEFAULT)
    assert metadata is not None
    kinds = [metadata.mobile, metadata.fixed_line]
    patterns = [str(kind.national_number_pattern) for kind in kinds if kind is not None]
    return re.compile(rf"\+55(?:{'|'.join(patterns)})", re.ASCII)


# What pages send most: valid or not by the very patterns that phonenumbers asks, at a hundredth of its cost.
# No area begins with 0 or 90, so no prefix of a carrier can be meant.
_WHOLE = _whole_number()
_OLD_MOBILE = re.compile(r"\+55(\d\d)([6-9]\d{7})")


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def canonical(written: str) -> str | None:
    """E.164, or None for what is no valid number. `canonical(canonical(x)) == canonical(x)`."""
    if _WHOLE.fullmatch(written):
        return written
    if len(written) > PHONE_CHARS_MAX or not _WRITTEN.fullmatch(written):
        return None
    e164 = _parsed(written)
    if e164 is None:
        return None
    if _is_valid(e164):
        return e164
    old_mobile = _OLD_MOBILE.fullmatch(e164)
    if old_mobile is None:
        return None
    with_nine = f"+55{old_mobile[1]}9{old_mobile[2]}"
    return with_nine if _is_valid(with_nine) else None


def masked(phone: str) -> str:
    """For logs and refusals: the first three characters and the last two at most."""
    return f"{phone[:3]}…{phone[-2:]}" if len(phone) >= 10 else "…"


def _parsed(written: str) -> str | None:
    try:
        number = phonenumbers.parse(written, REGION_DEFAULT)
    except phonenumbers.NumberParseException:
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _is_valid(e164: str) -> bool:
    return bool(phonenumbers.is_valid_number(phonenumbers.parse(e164, None)))

"""One canonical form (E.164) for a phone number, however it is written: the contact id is made from it.

Each rule and its source is in docs/phones.md. In short: digits without a country code are Brazilian or are
rejected; a number becomes another country's only if it is written with `+` or with a Brazilian carrier-select
prefix (`0021 1 415 ...`); a digit is added only where no typing error gives the same digits.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache

import msgspec
import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

PHONE_CHARS_MAX = 40
CACHE_ENTRIES_MAX = 65_536  # a number of another country costs 70-190 us, and a contact comes back


class ReadAs(Enum):
    """Which rule gave the number: for whoever must decide how far to trust it."""

    INTERNATIONAL = "with + and the country code"
    COUNTRY_CODE = "with Brazil's country code and without +, or as 0055"
    NATIONAL = "with the area code; a trunk, collect or carrier prefix is removed"
    OLD_MOBILE = "a mobile number of eight digits, to which the ninth is added"
    CARRIER_SELECT = "with 00, a Brazilian carrier's code and a country code"


class Phone(msgspec.Struct, frozen=True):
    """`e164` is canonical: reading it again gives the same."""

    e164: str
    read_as: ReadAs

    @property
    def is_foreign(self) -> bool:
        return not self.e164.startswith("+55")


class Rejected(msgspec.Struct, frozen=True):
    """`reason` is a stable slug. `detail` is for the person who typed; it shows no digit of the input."""

    reason: str
    detail: str


_MODEL = "such as +55 47 98921-1984"
_ABROAD = "for another country, start with + and the country code"

NO_DIGITS = Rejected("no-digits", f"the number is empty; write the area code and the number, {_MODEL}")
NOT_DIGITS = Rejected(
    "not-digits",
    f"the number has characters other than digits, spaces, one leading + and ( ) . / -; {_MODEL}",
)
TOO_LONG = Rejected(
    "too-long", f"the number has more than {PHONE_CHARS_MAX} characters; write one number only"
)
MISSING_DIGIT = Rejected(
    "missing-digit",
    f"a digit is missing: a mobile number has the area code, a 9 and 8 more digits, {_MODEL}",
)
NO_AREA_CODE = Rejected("no-area-code", f"the area code is missing; write it before the number, {_MODEL}")
NOT_PERSONAL = Rejected(
    "not-personal",
    "the number is a service number (toll-free, shared-cost, premium-rate or short);"
    f" give a personal number, {_MODEL}",
)
NOT_BRAZILIAN = Rejected(
    "not-brazilian",
    f"the number is not valid in Brazil; write the area code and 8 or 9 digits, {_MODEL}; {_ABROAD}",
)
INTERNATIONAL_PREFIX = Rejected(
    "international-prefix",
    "the number starts with 00, and its country is not certain;"
    f" write + and the country code instead, {_MODEL}",
)
TOO_SHORT = Rejected(
    "too-short", "the number has fewer than 8 digits with its country code; messages cannot be sent to it"
)
NOT_VALID = Rejected(
    "not-valid",
    "the number does not exist in the numbering plan of its country; check the country code and the digits",
)

# Brazil's numbering plan. `90` + two digits and `0` + two digits select a carrier; any two digits are read as
# one, since what follows is a whole mobile number. A landline is shorter: its carrier must be a known one.
_AREA = "(?:[14689][1-9]|2[12478]|3[1-578]|5[13-5]|7[13-579])"
_AREA_NOT_IN_9 = "(?:[14689][1-8]|2[12478]|3[1-578]|5[13-5]|7[13-57])"
_CARRIER = "(?:1[245]|2[1-35]|31|4[13]|[56]5|99)"
_MOBILE_DIGITS = rf"{_AREA}9\d{{8}}"
_LANDLINE_DIGITS = rf"{_AREA}(?!(?:[34]00|4020))[2-5]\d{{7}}"

_WHOLE = re.compile(rf"\+55(?:{_MOBILE_DIGITS}|{_LANDLINE_DIGITS})", re.ASCII)
_MOBILE = re.compile(rf"(?:0(?:[1-9]\d)?|90(?:[1-9]\d)?)?({_MOBILE_DIGITS})", re.ASCII)
_MOBILE_AFTER_9090 = re.compile(rf"9090({_MOBILE_DIGITS}|{_LANDLINE_DIGITS})", re.ASCII)
_LANDLINE = re.compile(rf"(?:0|90)?(?:(?<=0){_CARRIER}(?!9))?({_LANDLINE_DIGITS})", re.ASCII)
# Eight digits that begin with 8 were always mobile. A mobile number of today with one digit missing has them
# only after an area code that ends in 9 (`1[1] 9 8765-4321`): those are left out.
_OLD_MOBILE = re.compile(rf"0?({_AREA_NOT_IN_9})(8\d{{7}})", re.ASCII)
_MOBILE_WITHOUT_A_DIGIT = re.compile(rf"(?:(?:0|90)(?:[1-9]\d)?)?{_AREA}[6-9]\d{{7}}", re.ASCII)
_NATIONAL_IN_SHAPE = re.compile(rf"{_AREA}(?:9\d{{8}}|[2-9]\d{{7}})", re.ASCII)
_WITHOUT_AREA = re.compile(r"(?:0|90|9090)?(?:9\d{8}|[2-9]\d{7})", re.ASCII)
# 0800, 0300, 0303, 0500, 0900, the nationwide 300X, 400X and 4020 with or without an area code, short codes.
_SERVICE = re.compile(
    rf"0?(?:800|300|303|500|900)\d{{6,7}}|0?{_AREA}?(?:[34]00\d|4020)\d{{4}}|[1-9]\d{{2,5}}", re.ASCII
)
_CARRIER_SELECT = re.compile(r"00(?:1[245]|2[1-35]|31|4[13]|65|99)([1-9]\d+)", re.ASCII)
_CARRIER_SELECT_REST_DIGITS_MIN = 10  # fewer may be a Brazilian number after a doubled zero

_PROVIDER_ID = re.compile(r"\+?([1-9]\d{7,14})", re.ASCII)
_BRAZILIAN_ID = re.compile(rf"55({_MOBILE_DIGITS}|{_LANDLINE_DIGITS})", re.ASCII)
_BRAZILIAN_ID_WITHOUT_9 = re.compile(rf"55({_AREA})([6-9]\d{{7}})", re.ASCII)

# Removed wherever they are: spaces, the punctuation of phone numbers, characters that have no glyph.
_IGNORED = re.compile(
    r"[\s()./\-\u2010-\u2015\u2212\ufe58\ufe63\uff08\uff09\uff0d-\uff0f"
    r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]+"
)
_PLUSES = str.maketrans({"\uff0b": "+", "\ufe62": "+"})
_CLEAN = re.compile(r"(\+{0,2})([0-9]*)", re.ASCII)

_E164_DIGITS_MIN = 8
_PERSONAL = {
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP,
}


def canonical(written: str) -> str | None:
    """E.164 of a number that a person typed, or None. `canonical(canonical(x)) == canonical(x)`."""
    phone = read(written)
    return phone.e164 if isinstance(phone, Phone) else None


def read(written: str) -> Phone | Rejected:
    """A number that a person typed: what it is and how it was read, or why it is rejected."""
    # Outside of the cache, which would keep the text.
    return TOO_LONG if len(written) > PHONE_CHARS_MAX else _read(written)


def canonical_of_provider_id(wa_id: str) -> str | None:
    """E.164 of a provider's id of a person (`wa_id`, `recipient_id`): country code and number.

    Providers know many Brazilian mobiles without their ninth digit, Mexican ones with an old 1, Argentine
    ones with and without the 9. None for what is not a phone number, such as a business-scoped id.
    """
    return None if len(wa_id) > PHONE_CHARS_MAX else _canonical_of_provider_id(wa_id)


def masked(phone: str) -> str:
    """For logs: the first three characters and the last two at most."""
    return f"{phone[:3]}…{phone[-2:]}" if len(phone) >= 10 else "…"


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _read(written: str) -> Phone | Rejected:
    if _WHOLE.fullmatch(written):
        return Phone(written, ReadAs.INTERNATIONAL)
    clean = _CLEAN.fullmatch(_ascii(_IGNORED.sub("", written)))
    if clean is None:
        return NOT_DIGITS
    plus, digits = clean[1], clean[2]
    if not digits:
        return NO_DIGITS
    if digits.startswith("0055"):
        return _after_country_code(digits[4:], ReadAs.COUNTRY_CODE)
    if plus:
        return _international(digits)
    if digits.startswith("00"):
        return _carrier_select(digits)
    return _without_plus(digits)


def _ascii(text: str) -> str:
    """Decimal digits of every script by their value; superscripts and circled digits are not decimal."""
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text.translate(_PLUSES)
    )


def _international(digits: str) -> Phone | Rejected:
    if digits.startswith("00"):
        return INTERNATIONAL_PREFIX
    if digits.startswith("55"):
        return _after_country_code(digits[2:], ReadAs.INTERNATIONAL)
    found = _foreign(digits)
    return found if isinstance(found, Rejected) else Phone(found, ReadAs.INTERNATIONAL)


def _without_plus(digits: str) -> Phone | Rejected:
    national = _brazilian(digits, ReadAs.NATIONAL, NOT_BRAZILIAN)
    if isinstance(national, Rejected) and digits.startswith("55") and len(digits) >= 12:
        in_area_9x = digits[2] == "9"  # or a mobile of area 55 with a digit too many
        return _after_country_code(digits[2:], ReadAs.COUNTRY_CODE, may_add_nine=not in_area_9x)
    return national


def _after_country_code(national: str, read_as: ReadAs, may_add_nine: bool = True) -> Phone | Rejected:
    found = _brazilian(national, read_as, NOT_VALID, may_add_nine)
    if isinstance(found, Rejected) and national.startswith("55"):
        # Typed where a form had put the country code in already.
        mobile = _MOBILE.fullmatch(national[2:])
        return Phone(f"+55{mobile[1]}", read_as) if mobile is not None else found
    return found


def _brazilian(
    national: str, read_as: ReadAs, otherwise: Rejected, may_add_nine: bool = True
) -> Phone | Rejected:
    for pattern in (_MOBILE, _LANDLINE, _MOBILE_AFTER_9090):
        found = pattern.fullmatch(national)
        if found is not None:
            return Phone(f"+55{found[1]}", read_as)
    old_mobile = _OLD_MOBILE.fullmatch(national) if may_add_nine else None
    if old_mobile is not None:
        return Phone(f"+55{old_mobile[1]}9{old_mobile[2]}", ReadAs.OLD_MOBILE)
    if _SERVICE.fullmatch(national):
        return NOT_PERSONAL
    if _MOBILE_WITHOUT_A_DIGIT.fullmatch(national):
        return MISSING_DIGIT
    if _WITHOUT_AREA.fullmatch(national):
        return NO_AREA_CODE
    return otherwise


def _carrier_select(digits: str) -> Phone | Rejected:
    """`00`, a carrier, a country code: accepted only where `00` and a country code cannot be meant."""
    found = _CARRIER_SELECT.fullmatch(digits)
    if found is None or len(found[1]) < _CARRIER_SELECT_REST_DIGITS_MIN:
        return INTERNATIONAL_PREFIX
    if isinstance(_foreign(digits[2:]), str):
        return INTERNATIONAL_PREFIX  # `0031 20 123 4567` is Dutch in Europe, and Egyptian in Brazil
    if _NATIONAL_IN_SHAPE.fullmatch(found[1]):
        return INTERNATIONAL_PREFIX  # `0 21 81 9...` with a doubled zero, or Japan
    if found[1].startswith("55"):
        return _brazilian(found[1][2:], ReadAs.CARRIER_SELECT, INTERNATIONAL_PREFIX, may_add_nine=False)
    foreign = _foreign(found[1])
    return foreign if isinstance(foreign, Rejected) else Phone(foreign, ReadAs.CARRIER_SELECT)


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _canonical_of_provider_id(wa_id: str) -> str | None:
    found = _PROVIDER_ID.fullmatch(wa_id)
    if found is None:
        return None
    digits = found[1]
    if digits.startswith("55"):
        if _BRAZILIAN_ID.fullmatch(digits):
            return f"+{digits}"
        without_9 = _BRAZILIAN_ID_WITHOUT_9.fullmatch(digits)
        return f"+55{without_9[1]}9{without_9[2]}" if without_9 is not None else None
    foreign = _foreign(digits)
    return foreign if isinstance(foreign, str) else None


def _foreign(digits: str) -> str | Rejected:
    """E.164 of country code and national number, not Brazil's: valid, personal, and stable if read again."""
    if digits.startswith("521") and len(digits) == 13:
        digits = f"52{digits[3:]}"  # Mexico's mobiles lost their 1 in 2019
    number = _parsed(digits)
    if number is None:
        return NOT_VALID
    kind = phonenumbers.number_type(number)
    if kind == PhoneNumberType.UNKNOWN:
        return NOT_VALID
    if kind not in _PERSONAL:
        return NOT_PERSONAL
    e164 = _e164(number)
    if number.country_code == 54 and len(e164) == 13:
        # Argentine mobiles and landlines share one set of ten-digit numbers: the 9 does not tell two apart.
        mobile = _parsed(f"549{e164[3:]}")
        if mobile is not None and phonenumbers.number_type(mobile) == PhoneNumberType.MOBILE:
            e164 = _e164(mobile)
    if len(e164) - 1 < _E164_DIGITS_MIN:
        return TOO_SHORT
    if e164[1:] != digits and _foreign(e164[1:]) != e164:
        return NOT_VALID
    return e164


def _parsed(digits: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        return None


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))

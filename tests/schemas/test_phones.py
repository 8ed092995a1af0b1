"""The phone rules of docs/phones.md: examples of every row, and its kind by generated numbers."""

from __future__ import annotations

import random
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.phones import (
    PHONE_CHARS_MAX,
    Phone,
    ReadAs,
    Rejected,
    canonical,
    canonical_of_provider_id,
    masked,
    read,
)
from tests.support.spellings import AREAS, CARRIERS_ABROAD, FORMAT_CHARACTERS, ZEROS, people

MOBILE = "+5547989211984"

areas = st.sampled_from(AREAS)
eight = st.integers(0, 99_999_999).map(lambda n: f"{n:08d}")
mobiles = st.builds(lambda area, rest: f"{area}9{rest}", areas, eight)
landlines = st.builds(
    lambda area, first, rest: f"{area}{first}{rest:07d}",
    areas,
    st.integers(2, 5),
    st.integers(0, 9_999_999),
).filter(lambda digits: not re.match(r"..(?:[34]00|4020)", digits))

TYPED_PREFIXES = ["+55", "55", "0055", "+0055", "0", "", "90", "9090", "+550", "550", "+5555", "055"]


def is_landline(e164: str | None) -> bool:
    return e164 is not None and re.fullmatch(r"\+55\d\d[2-5]\d{7}", e164) is not None


# Spellings of one number


@pytest.mark.parametrize(
    "written",
    [
        "+5547989211984",
        "5547989211984",
        "47989211984",
        "047989211984",
        "0 21 47 98921-1984",  # with the carrier
        "0 17 47 98921-1984",  # with a carrier that has no international service
        "90 47 98921-1984",
        "90 21 47 98921-1984",
        "9090 47 98921-1984",
        "09047989211984",
        "+55 (47) 98921-1984",
        "(+55) 47 98921.1984",
        "++55 47 98921 1984",
        "+55 (0)47 98921-1984",
        "+55 0 21 47 98921-1984",
        "+55 55 47 98921-1984",  # the form had put the country code in
        "0055 47 98921-1984",
        "00 55 47 98921-1984",
        "+0055 47 98921-1984",
        "0055 047 98921-1984",
        "0021 55 47 98921-1984",  # from abroad as dialled in Brazil
        "\uff0b55 47 98921\u20111984",
        "\uff0b\uff15\uff15 \uff08\uff14\uff17\uff09 98921\uff0d1984",
        "٤٧ ٩٨٩٢١ ١٩٨٤",
        "\u202a+55 47 98921-1984\u202c",
        "\u200b\ufeff47\u200d98921\u20661984\u2069",
        "+55 47 8921-1984",  # an old mobile of range 8
        "(47) 8921-1984",
    ],
)
def test_every_spelling_of_a_mobile_is_one_number(written: str) -> None:
    assert canonical(written) == MOBILE


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("0055 81 99123-4567", "+5581991234567"),
        ("00 55 49 99123-4567", "+5549991234567"),
        ("+0055 81 99123-4567", "+5581991234567"),
        ("055 55 99123-4567", "+5555991234567"),
        ("55 99123-4567", "+5555991234567"),  # area code 55, not the country
        ("0055 55 99123-4567", "+5555991234567"),
        ("+553136181234", "+553136181234"),
        ("(31) 3618-1234", "+553136181234"),
        ("0 41 31 3618-1234", "+553136181234"),
        ("55 3221-1234", "+555532211234"),
        ("+1 415 555 2671", "+14155552671"),
        ("+351 912 345 678", "+351912345678"),
        ("+44 (0)7400 123456", "+447400123456"),
        ("+39 06 1234 5678", "+390612345678"),  # this zero belongs to the number
        ("0021 1 415 555 2671", "+14155552671"),
    ],
)
def test_numbers_are_read_as_they_were_meant(written: str, e164: str) -> None:
    assert canonical(written) == e164


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("+55 47 98921-1984", ReadAs.INTERNATIONAL),
        ("+1 415 555 2671", ReadAs.INTERNATIONAL),
        ("5547989211984", ReadAs.COUNTRY_CODE),
        ("0055 47 98921-1984", ReadAs.COUNTRY_CODE),
        ("+0055 47 98921-1984", ReadAs.COUNTRY_CODE),
        ("47 98921-1984", ReadAs.NATIONAL),
        ("0 21 47 98921-1984", ReadAs.NATIONAL),
        ("90 21 47 98921-1984", ReadAs.NATIONAL),
        ("47 8921-1984", ReadAs.OLD_MOBILE),
        ("+55 47 8921-1984", ReadAs.OLD_MOBILE),
        ("0021 1 415 555 2671", ReadAs.CARRIER_SELECT),
        ("0041 55 47 98921-1984", ReadAs.CARRIER_SELECT),
    ],
)
def test_it_is_marked_how_a_number_was_read(written: str, read_as: ReadAs) -> None:
    phone = read(written)
    assert isinstance(phone, Phone)
    assert phone.read_as is read_as
    assert phone.is_foreign is not phone.e164.startswith("+55")


@pytest.mark.parametrize("one", ["+54 9 11 3456-7812", "+54 11 3456-7812", "+54 11 15 3456-7812"])
def test_an_argentine_mobile_is_one_number(one: str) -> None:
    assert canonical(one) == "+5491134567812"


@pytest.mark.parametrize("one", ["+52 1 55 1234 5678", "+52 55 1234 5678"])
def test_a_mexican_mobile_is_one_number(one: str) -> None:
    assert canonical(one) == "+525512345678"


# Rejected numbers


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "no-digits"),
        ("\u200b", "no-digits"),
        ("+", "no-digits"),
        ("abc", "not-digits"),
        ("+1 800 FLOWERS", "not-digits"),
        ("+554789211984 ext. 5", "not-digits"),
        ("+55 47 +98921-1984", "not-digits"),
        ("\u2460\u2461 98921-1984", "not-digits"),  # circled digits
        ("47 98921-198\u2074", "not-digits"),  # superscript
        ("1" * 41, "too-long"),
        ("11 9998-7760", "missing-digit"),
        ("+55 11 9998-7760", "missing-digit"),
        ("55 11 9998 7760", "missing-digit"),
        ("011 9998 7760", "missing-digit"),
        ("0055 11 9998 7760", "missing-digit"),
        ("11 7812-3456", "missing-digit"),  # trunking (SME) kept eight digits, so no 9 may be added
        ("+554777001234", "missing-digit"),
        ("11 6812-3456", "missing-digit"),  # landlines of area 11 until 2008
        ("19 8765-4321", "missing-digit"),  # `11 98765-4321` without its second digit
        ("989211984", "no-area-code"),
        ("3618-1234", "no-area-code"),
        ("9090 98921-1984", "no-area-code"),
        ("0800 123 4567", "not-personal"),
        ("0800 123 456", "not-personal"),
        ("800 123 4567", "not-personal"),
        ("+55 800 123 4567", "not-personal"),
        ("0055 0800 123 4567", "not-personal"),
        ("0300 123 4567", "not-personal"),
        ("0303 123 4567", "not-personal"),
        ("0500 123 4567", "not-personal"),
        ("0900 123 4567", "not-personal"),
        ("4004-1234", "not-personal"),
        ("3003 1234", "not-personal"),
        ("(11) 4004-1234", "not-personal"),
        ("190", "not-personal"),
        ("10315", "not-personal"),
        ("+1 800 234 5678", "not-personal"),
        ("+44 300 123 4567", "not-personal"),
        ("+44 70 1234 5678", "not-personal"),
        ("+800 1234 5678", "not-personal"),
        ("+979 123 456 789", "not-personal"),
        ("+39 892 123", "not-personal"),
        ("14155552671", "not-brazilian"),
        ("47 98921-19845", "not-brazilian"),
        ("0011987654321", "international-prefix"),
        ("0034 912 345 678", "international-prefix"),
        ("00351 912 345 678", "international-prefix"),
        ("0031 20 123 4567", "international-prefix"),
        ("+00 351 912 345 678", "international-prefix"),
        ("0021 81 94368-2812", "international-prefix"),  # Japan, or `0 21 81 9...` with a doubled zero
        ("+6834002", "too-short"),
        ("+55 47 98921-19845", "not-valid"),
        ("+55", "not-valid"),
        ("+1 555 555 5555", "not-valid"),
        ("+999 123 456 789", "not-valid"),
        ("+0 47 98921 1984", "not-valid"),
    ],
)
def test_a_rejected_number_has_its_reason(written: str, reason: str) -> None:
    rejected = read(written)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason
    assert canonical(written) is None
    assert not re.search(r"\d{4}", rejected.detail.replace("47 98921-1984", "")), "no personal data"


@given(mobiles, st.integers(0, 10))
def test_a_mobile_with_one_digit_missing_is_never_another_mobile(national: str, place: int) -> None:
    """A landline may come out: no digits distinguish it from a landline that was meant."""
    for prefix in ("", "0", "55", "0055", "+55", "021"):
        found = canonical(prefix + national[:place] + national[place + 1 :])
        assert found in (None, f"+55{national}") or is_landline(found)


@given(mobiles, st.integers(0, 11), st.integers(0, 9))
def test_a_mobile_with_one_digit_too_many_is_never_another_mobile(
    national: str, place: int, more: int
) -> None:
    for prefix in ("", "0", "55", "0055", "+55", "021"):
        found = canonical(f"{prefix}{national[:place]}{more}{national[place:]}")
        assert found in (None, f"+55{national}") or is_landline(found)


def test_each_mobile_of_the_issue_with_a_digit_missing_is_rejected() -> None:
    for place in range(2, 11):
        typed = "11999877760"[:place] + "11999877760"[place + 1 :]
        assert canonical(typed) is None


@given(areas, st.sampled_from("689"), st.integers(0, 9_999_999))
def test_an_old_mobile_gets_its_ninth_digit_only_in_range_8(area: int, first: str, rest: int) -> None:
    found = canonical(f"{area}{first}{rest:07d}")
    if first == "8" and area % 10 != 9:
        assert found == f"+55{area}98{rest:07d}"
    else:
        assert found is None


# Prefixes, carriers and countries


@given(mobiles, st.sampled_from(TYPED_PREFIXES))
def test_a_prefix_does_not_change_a_brazilian_mobile(national: str, prefix: str) -> None:
    assert canonical(prefix + national) == f"+55{national}"


@given(landlines, st.sampled_from(["+55", "55", "0055", "+0055", "0", "", "90", "9090", "+550", "550"]))
def test_a_prefix_does_not_change_a_brazilian_landline(national: str, prefix: str) -> None:
    assert canonical(prefix + national) == f"+55{national}"


@given(mobiles, st.integers(11, 99), st.sampled_from(["0", "90", "+550", "550"]))
def test_a_carrier_does_not_change_a_brazilian_mobile(national: str, carrier: int, trunk: str) -> None:
    assert canonical(f"{trunk}{carrier:02d}{national}") in (None, f"+55{national}")
    if carrier % 10:
        assert canonical(f"{trunk}{carrier}{national}") == f"+55{national}"


@given(st.from_regex(r"0{0,3}[0-9() .-]{0,18}", fullmatch=True))
def test_without_plus_or_carrier_select_prefix_a_number_is_brazilian(written: str) -> None:
    phone = read(written)
    if isinstance(phone, Phone) and phone.is_foreign:
        assert phone.read_as is ReadAs.CARRIER_SELECT
        digits = re.sub(r"\D", "", written)
        assert digits[:2] == "00"
        assert digits[2:4] in CARRIERS_ABROAD
        assert phone.e164 == f"+{digits[4:]}" or phone.e164[:3] in ("+54", "+52")


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.sampled_from(CARRIERS_ABROAD))
def test_a_valid_mobile_of_any_country_is_kept_with_its_plus_only(region: str, carrier: str) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if example is None or region == "BR":
        return
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    spaced = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    if len(e164) > 8:
        assert canonical(e164) == canonical(spaced) == e164
    for typed in (e164[1:], f"00{e164[1:]}", f"0{e164[1:]}"):
        found = read(typed)
        assert isinstance(found, Rejected) or not found.is_foreign or found.read_as is ReadAs.CARRIER_SELECT
    with_carrier = read(f"00{carrier}{e164[1:]}")
    assert isinstance(with_carrier, Rejected) or with_carrier == Phone(e164, ReadAs.CARRIER_SELECT)


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_other_than_personal_numbers_of_any_country_are_rejected(region: str) -> None:
    kinds = phonenumbers.PhoneNumberType
    for kind in (kinds.TOLL_FREE, kinds.PREMIUM_RATE, kinds.SHARED_COST, kinds.UAN, kinds.PAGER):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None or phonenumbers.number_type(example) != kind:
            continue
        assert canonical(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)) is None
        if region == "BR":
            assert canonical(phonenumbers.national_significant_number(example)) is None


# One form


ALPHABET = "0123456789+()-. \uff0b\u200b\u202a\u0665\uff15xa"
PREFIXES = ["", "+", "00", "0", "90", "9090", "+55", "0055", "+0055", "+54", "+549", "+521", "0021", "0099"]


@given(
    st.builds(
        "".join,
        st.tuples(st.sampled_from(PREFIXES), st.text(alphabet="0123456789", min_size=4, max_size=14)),
    )
    | st.text(alphabet=ALPHABET, max_size=PHONE_CHARS_MAX)
    | st.text(max_size=60)
)
def test_a_canonical_number_stays_itself(written: str) -> None:
    once = canonical(written)
    if once is not None:
        assert re.fullmatch(r"\+[1-9][0-9]{7,14}", once)
        assert canonical(once) == once
        assert canonical_of_provider_id(once[1:]) == once


def test_random_digits_stay_themselves() -> None:
    rng = random.Random(1)
    found = 0
    for _ in range(5_000):
        digits = "".join(rng.choices("0123456789", k=rng.randint(6, 16)))
        once = canonical(rng.choice(PREFIXES) + digits)
        if once is not None:
            found += 1
            assert canonical(once) == once
    assert found > 100


@given(mobiles, st.lists(st.sampled_from(FORMAT_CHARACTERS), max_size=12), st.randoms(use_true_random=False))
def test_format_characters_are_ignored(national: str, marks: list[str], rng: random.Random) -> None:
    typed = [*f"+55{national}"]
    for mark in marks:
        typed.insert(rng.randint(0, len(typed)), mark)
    assert canonical("".join(typed)) == f"+55{national}"


@given(mobiles, st.sampled_from(ZEROS))
def test_decimal_digits_of_every_script_have_their_value(national: str, zero: str) -> None:
    typed = "".join(chr(ord(zero) + int(digit)) for digit in national)
    assert canonical(typed) == f"+55{national}"


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_people_in_ten_spellings_are_a_thousand_contacts(seed: int) -> None:
    """And none is of another country whose number was not written as such."""
    everybody = dict(people(1_000, seed))
    contacts = {phone: {canonical(typed) for typed in written} for phone, written in everybody.items()}
    assert contacts == {phone: {phone} for phone in everybody}
    assert len(set().union(*everybody.values())) == 10_000
    abroad = [phone for phone in everybody if not phone.startswith("+55")]
    assert 50 < len(abroad) < 150
    assert all(isinstance(found := read(phone), Phone) and found.is_foreign for phone in abroad)


@given(mobiles | landlines)
def test_a_whole_number_is_what_phonenumbers_accepts(national: str) -> None:
    number = phonenumbers.parse(f"+55{national}", None)
    assert phonenumbers.is_valid_number(number)
    assert canonical(f"+55{national}") == f"+55{national}"


@given(st.from_regex(r"\+55[0-9]{8,12}", fullmatch=True))
def test_no_brazilian_number_is_accepted_that_phonenumbers_rejects(written: str) -> None:
    found = canonical(written)
    if found is not None:
        assert phonenumbers.is_valid_number(phonenumbers.parse(found, None))


def test_a_long_text_is_not_kept_in_memory() -> None:
    assert canonical("9" * 1_000_000) is None
    assert canonical_of_provider_id("9" * 1_000_000) is None


# Ids of providers


@pytest.mark.parametrize(
    ("wa_id", "e164"),
    [
        ("5547989211984", MOBILE),
        ("554789211984", MOBILE),
        ("+554789211984", MOBILE),
        ("551199877760", "+5511999877760"),
        ("551978123456", "+5519978123456"),
        ("554777001234", "+5547977001234"),
        ("553136181234", "+553136181234"),
        ("5491134567812", "+5491134567812"),
        ("541134567812", "+5491134567812"),
        ("5215512345678", "+525512345678"),
        ("525512345678", "+525512345678"),
        ("14155552671", "+14155552671"),
        ("351912345678", "+351912345678"),
    ],
)
def test_the_phone_of_a_provider_id(wa_id: str, e164: str) -> None:
    assert canonical_of_provider_id(wa_id) == e164


@pytest.mark.parametrize(
    "wa_id",
    ["", "BR.1234", "123@lid", "47989211984", "0047989211984", "55 47 98921-1984", "1" * 16, "\uff15" * 12],
)
def test_what_is_not_a_phone_in_a_provider_id_is_none(wa_id: str) -> None:
    assert canonical_of_provider_id(wa_id) is None


@given(areas, st.integers(60_000_000, 99_999_999))
def test_a_provider_id_with_and_without_the_ninth_digit_is_one_contact(area: int, subscriber: int) -> None:
    with_nine = canonical_of_provider_id(f"55{area}9{subscriber}")
    assert with_nine == canonical_of_provider_id(f"55{area}{subscriber}") == f"+55{area}9{subscriber}"


@given(st.text(max_size=60))
def test_a_masked_phone_shows_five_characters_at_most(written: str) -> None:
    assert len(masked(written).replace("…", "")) <= 5

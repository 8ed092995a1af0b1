from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.phones import _WHOLE, PHONE_CHARS_MAX, canonical, masked


@pytest.mark.parametrize(
    "written",
    [
        "+5547989211984",
        "5547989211984",
        "47989211984",
        "047989211984",
        "+55 (47) 98921-1984",
        "+55 47 8921-1984",
        "554789211984",  # as WhatsApp knows it
        "4789211984",
        "\uff0b55 47 98921\u20111984",
    ],
)
def test_every_writing_of_a_mobile_is_one_number(written: str) -> None:
    assert canonical(written) == "+5547989211984"


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("+553136181234", "+553136181234"),  # fixed: no 9 is put in
        ("(31) 3618-1234", "+553136181234"),
        ("+554777001234", "+554777001234"),  # a valid mobile of eight digits stays as it is
        ("+1 415 555 2671", "+14155552671"),
        ("+351 912 345 678", "+351912345678"),
    ],
)
def test_valid_numbers_are_kept(written: str, e164: str) -> None:
    assert canonical(written) == e164


@pytest.mark.parametrize(
    "written",
    [
        "",
        "abc",
        "989211984",
        "14155552671",
        "+1 800 FLOWERS",
        "+554789211984 ext. 5",
        "+55",
        "+" * 5,
        "1" * 41,
    ],
)
def test_what_is_no_number_is_none(written: str) -> None:
    assert canonical(written) is None


@given(st.integers(11, 99), st.integers(60_000_000, 99_999_999))
def test_a_brazilian_mobile_with_and_without_the_nine_is_one_contact(area: int, subscriber: int) -> None:
    with_nine = f"+55{area}9{subscriber}"
    without = f"+55{area}{subscriber}"
    valid_as_it_is = phonenumbers.is_valid_number(phonenumbers.parse(without, None))
    if not valid_as_it_is and phonenumbers.is_valid_number(phonenumbers.parse(with_nine, None)):
        assert canonical(without) == canonical(with_nine) == with_nine


@given(st.from_regex(_WHOLE, fullmatch=True) | st.from_regex(r"\+55[0-9]{8,12}", fullmatch=True))
def test_the_short_way_for_whole_numbers_says_what_phonenumbers_says(written: str) -> None:
    number = phonenumbers.parse(written, None)
    if phonenumbers.is_valid_number(number):
        assert canonical(written) == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    else:
        assert _WHOLE.fullmatch(written) is None


@given(st.text(alphabet="0123456789+()-. ", max_size=PHONE_CHARS_MAX) | st.text(max_size=60))
def test_a_canonical_number_stays_itself(written: str) -> None:
    once = canonical(written)
    if once is not None:
        assert once.startswith("+")
        assert once[1:].isdigit()
        assert canonical(once) == once


@given(st.text(max_size=60))
def test_a_masked_phone_shows_five_characters_at_most(written: str) -> None:
    assert len(masked(written).replace("…", "")) <= 5

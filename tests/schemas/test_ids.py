"""Ids are functions of the event: known values never change, and no two lists of parts give the same."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from uuid import UUID, uuid5

from hypothesis import assume, given
from hypothesis import strategies as st

from schemas import ids

DAY_MS = 86_400_000
texts = st.text(max_size=30)
times_ms = st.integers(min_value=0, max_value=4_102_444_800_000)


def test_ids_are_what_they_always_were() -> None:
    """A changed value here is another id for everything that was ever stored."""
    assert ids.completion_id("acme", "bfi", "key-1", "c" * 32) == "dea23317-3541-5328-b9e2-71cadd94cdec"
    assert ids.delivery_id("welcome", "c" * 32) == "ab25bdc3-14e7-5619-a859-8a5778909c0b"
    assert ids.dead_letter_id("quiz.completions.v1", 3, 17, "match") == "3960491e-71fa-5d63-bdc4-4ebd4001a5b8"
    assert ids.contact_id(b"secret", "acme", "+5511999999999") == "b898f4e5bc7bd6db336ef75e17c6911e"
    assert ids.anonymous_contact_id(b"secret", "some-completion") == "a33922ba08629e83de71dadac3db24f0"


@given(texts, texts)
def test_ids_are_uuids_of_version_5(campaign: str, contact: str) -> None:
    """As the standard library makes them, from the parts with their lengths."""
    framed = f"{len(campaign)}:{campaign}{len(contact)}:{contact}"
    namespace = UUID("4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7c02")
    assert ids.delivery_id(campaign, contact) == str(uuid5(namespace, framed))


@given(st.tuples(texts, texts, texts, texts), st.tuples(texts, texts, texts, texts))
def test_other_parts_make_another_completion(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    assume(one != other)
    assert ids.completion_id(*one) != ids.completion_id(*other)


@given(texts, texts)
def test_what_moves_from_one_part_to_the_next_is_another_delivery(campaign: str, contact: str) -> None:
    for cut in range(1, len(campaign)):
        moved = ids.delivery_id(campaign[:cut], campaign[cut:] + contact)
        assert moved != ids.delivery_id(campaign, contact)


@given(st.binary(min_size=1, max_size=200), st.binary(min_size=1, max_size=200), texts, texts)
def test_a_contact_is_opaque_and_of_one_key_and_tenant(
    key: bytes, other_key: bytes, tenant: str, other_tenant: str
) -> None:
    assume(key.rstrip(b"\0") != other_key.rstrip(b"\0") and tenant != other_tenant)
    phone = "+5511999999999"
    contact = ids.contact_id(key, tenant, phone)
    assert re.fullmatch("[0-9a-f]{32}", contact)
    assert contact not in {
        ids.contact_id(other_key, tenant, phone),
        ids.contact_id(key, other_tenant, phone),
        ids.anonymous_contact_id(key, tenant),
    }


@given(st.text(max_size=20))
def test_a_match_key_says_its_campaign_and_contact(campaign: str) -> None:
    key = ids.match_key(campaign, "c" * 32)
    assert key.rsplit(b"|", 1) == [campaign.encode(), b"c" * 32]


@given(times_ms)
def test_days_and_months_are_those_of_utc(time_ms: int) -> None:
    at = datetime.fromtimestamp(time_ms // 1000, UTC)
    epoch = date(1970, 1, 1)
    assert ids.day_of(time_ms) == (at.date() - epoch).days
    assert ids.campaign_month(time_ms) == (at.date().replace(day=1) - epoch).days


def test_a_time_just_before_midnight_is_of_the_day_before() -> None:
    assert ids.day_of(20_000 * DAY_MS) == 20_000
    assert ids.day_of(20_000 * DAY_MS - 1) == 19_999

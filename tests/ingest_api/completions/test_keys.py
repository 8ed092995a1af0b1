from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.completions.keys import HOUR_MS, TimeBounds, idempotency_key, new_key, submitted_at, time_in
from ingest_api.http.problems import Rejection

NOW = 1_800_000_000_000
BOUNDS = TimeBounds(past_h=168, past_name="submitted_past_max_h", future_s=300)


def rejected(header: bytes | None, completion_id: str | None) -> str:
    with pytest.raises(Rejection) as raised:
        idempotency_key(header, completion_id, 8)
    return raised.value.problem.kind.slug


def test_header_and_body_give_the_same_key() -> None:
    assert idempotency_key(b"abc", None, 8) == "abc"
    assert idempotency_key(None, "abc", 8) == "abc"
    assert idempotency_key(b"abc", "abc", 8) == "abc"
    assert idempotency_key(b'"abc"', "abc", 8) == "abc"
    assert idempotency_key(None, None, 8) is None
    assert idempotency_key(None, "ção", 8) == "ção"


@pytest.mark.parametrize(
    ("header", "completion_id", "slug"),
    [
        (b"abc", "abd", "conflicting-keys"),
        (b"", None, "invalid-idempotency-key"),
        (b'""', None, "invalid-idempotency-key"),
        (b"  ", None, "invalid-idempotency-key"),
        (b"123456789", None, "invalid-idempotency-key"),
        (None, "123456789", "invalid-idempotency-key"),
        (None, "", "invalid-idempotency-key"),
        (None, "a\nb", "invalid-idempotency-key"),
        (b"a\x7fb", None, "invalid-idempotency-key"),
        ("ção".encode(), None, "invalid-idempotency-key"),
    ],
)
def test_a_key_that_cannot_be_used_is_rejected(
    header: bytes | None, completion_id: str | None, slug: str
) -> None:
    assert rejected(header, completion_id) == slug


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_new_key_is_a_uuid7_of_its_time(now_ms: int, random: bytes) -> None:
    key = new_key(now_ms, lambda count: random[:count])
    parsed = uuid.UUID(key)
    assert str(parsed) == key
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert time_in(key) == time_in(key.upper()) == now_ms


def test_other_keys_hold_no_time() -> None:
    assert time_in(str(uuid.UUID(int=5, version=4))) is None
    assert time_in("order-17") is None


def test_a_given_time_wins_over_the_key_and_the_key_over_the_arrival() -> None:
    key = new_key(NOW - HOUR_MS, lambda count: bytes(count))
    assert submitted_at(NOW - 5, key, NOW, BOUNDS) == NOW - 5
    assert submitted_at(None, key, NOW, BOUNDS) == NOW - HOUR_MS
    assert submitted_at(None, "order-17", NOW, BOUNDS) == NOW
    assert submitted_at(None, None, NOW, BOUNDS) == NOW


@pytest.mark.parametrize(
    ("time_ms", "bound"),
    [
        (NOW - 168 * HOUR_MS - 1, "submitted_past_max_h"),
        (NOW + 300_001, "submitted_future_max_s"),
        (NOW + 60 * 365 * 24 * HOUR_MS, "submitted_future_max_s"),
        (-62_135_596_800_000, "submitted_past_max_h"),
    ],
)
def test_a_given_time_out_of_bounds_is_rejected_with_the_bound(time_ms: int, bound: str) -> None:
    with pytest.raises(Rejection) as raised:
        submitted_at(time_ms, None, NOW, BOUNDS)
    assert bound in raised.value.problem.detail


@given(st.integers(0, 2**48 - 1))
def test_a_time_in_a_key_out_of_bounds_counts_as_none(key_ms: int) -> None:
    key = new_key(key_ms, lambda count: bytes(count))
    expected = key_ms if BOUNDS.holds(key_ms, NOW) else NOW
    assert submitted_at(None, key, NOW, BOUNDS) == expected

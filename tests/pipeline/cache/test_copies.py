"""The copies of a process are bounded in number and size, whatever is done with them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cache.copies import OVERHEAD_BYTES, Copies, Copy

ENTRIES_MAX = 5
BYTES_MAX = 5 * OVERHEAD_BYTES


class Put(NamedTuple):
    key: int
    size: int


class Get(NamedTuple):
    key: int


class Expire(NamedTuple):
    key: int


class Wait(NamedTuple):
    seconds: float


KEYS = st.integers(0, 9)
STEPS = st.one_of(
    st.builds(Put, KEYS, st.integers(0, 3 * OVERHEAD_BYTES)),
    st.builds(Get, KEYS),
    st.builds(Expire, KEYS),
    st.builds(Wait, st.floats(0, 20)),
)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def key(number: int) -> tuple[str, str]:
    return ("n", str(number))


@given(st.lists(STEPS, max_size=120))
def test_limits_hold_and_what_is_returned_is_what_was_put_last(steps: list[object]) -> None:
    clock = Clock()
    copies = Copies(ENTRIES_MAX, BYTES_MAX, clock)
    last: dict[int, tuple[str, float]] = {}  # the value put last, and until when it is fresh
    for number, step in enumerate(steps):
        match step:
            case Put(at, size):
                value = f"v{number}"
                copies.put(key(at), Copy(value, size, clock.now_s + 10, clock.now_s + 30))
                last[at] = (value, clock.now_s + 10)
            case Get(at):
                found = copies.get(key(at))
                if found is not None:
                    assert found.value == last[at][0]
                    assert copies.is_fresh(found) == (clock.now_s < last[at][1])
            case Expire(at):
                copies.expire(key(at))
                if at in last:
                    last[at] = (last[at][0], float("-inf"))
            case Wait(seconds):
                clock.now_s += seconds
        assert len(copies) <= ENTRIES_MAX
        assert 0 <= copies.total_bytes <= BYTES_MAX
    for at in range(10):
        copies.expire(key(at))
    clock.now_s += 100
    for at in range(10):
        assert copies.get(key(at)) is None
    assert (len(copies), copies.total_bytes) == (0, 0)


def test_the_copy_that_was_used_least_recently_leaves_first() -> None:
    copies = Copies(2, 10**6, Clock())
    for at in (1, 2):
        copies.put(key(at), Copy("v", 1, 10, 10))
    copies.get(key(1))
    copies.put(key(3), Copy("v", 1, 10, 10))
    assert [copies.get(key(at)) is not None for at in (1, 2, 3)] == [True, False, True]


def test_a_copy_larger_than_all_may_be_takes_no_place_of_others() -> None:
    copies = Copies(10, BYTES_MAX, Clock())
    copies.put(key(1), Copy("v", 1, 10, 10))
    copies.put(key(2), Copy("v", BYTES_MAX, 10, 10))
    assert copies.get(key(1)) is not None
    assert copies.get(key(2)) is None


def test_expired_copies_are_stale_and_absent_ones_are_removed() -> None:
    copies = Copies(10, BYTES_MAX, Clock())
    copies.put(key(1), Copy("v", 1, 10, 30))
    copies.put(key(2), Copy(None, 0, 10, 10))
    copies.expire_all("other")
    assert copies.get(key(2)) is not None
    copies.expire_all("n")
    found = copies.get(key(1))
    assert found is not None
    assert not copies.is_fresh(found)
    assert copies.get(key(2)) is None

"""Sliding windows in event time, against counting by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.contact_memory import Allowed
from pipeline.stages.limit import Limited, limit
from pipeline.topology.file import Window, Windows

WINDOWS = Windows(
    contact=Window(limit=3, window_s=10),
    contact_quiz=Window(limit=2, window_s=5),
    remembered_per_contact_max=64,
)


def earlier(*entries: tuple[int, str]) -> list[Allowed]:
    return [Allowed(at, f"id {index}", quiz, index) for index, (at, quiz) in enumerate(entries)]


def test_a_full_window_limits_and_says_which() -> None:
    of_contact = earlier((1_000, "a"), (2_000, "b"), (3_000, "c"))
    assert limit(4_000, "d", of_contact, WINDOWS) == Limited("contact: 3 in 10 s")
    of_quiz = earlier((1_000, "a"), (2_000, "a"))
    assert limit(4_000, "a", of_quiz, WINDOWS) == Limited("contact_quiz: 2 in 5 s")
    assert limit(4_000, "b", of_quiz, WINDOWS) is None


def test_a_window_leaves_out_its_beginning_and_holds_its_end() -> None:
    of_quiz = earlier((1_000, "a"), (2_000, "a"))
    assert isinstance(limit(5_999, "a", of_quiz, WINDOWS), Limited)
    assert limit(6_000, "a", of_quiz, WINDOWS) is None
    assert isinstance(limit(2_000, "a", of_quiz, WINDOWS), Limited)


def test_what_was_accepted_later_does_not_count() -> None:
    """Given records out of order: one that comes late in the log is judged by what was before it in time."""
    assert limit(1_999, "a", earlier((1_000, "a"), (2_000, "a")), WINDOWS) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), max_size=60))
def test_verdicts_equal_those_of_counting_by_hand(log: list[tuple[int, str]]) -> None:
    allowed: list[Allowed] = []
    by_hand: list[tuple[int, str]] = []
    for offset, (second, quiz) in enumerate(log):
        verdict = limit(second * 1_000, quiz, allowed, WINDOWS)
        in_ten = [1 for at, _ in by_hand if second - 10 < at <= second]
        in_five = [1 for at, of in by_hand if second - 5 < at <= second and of == quiz]
        if len(in_ten) >= 3:
            assert verdict == Limited("contact: 3 in 10 s")
        elif len(in_five) >= 2:
            assert verdict == Limited("contact_quiz: 2 in 5 s")
        else:
            assert verdict is None
            by_hand.append((second, quiz))
            allowed.append(Allowed(second * 1_000, str(offset), quiz, offset))

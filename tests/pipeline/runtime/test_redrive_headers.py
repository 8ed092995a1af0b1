"""What a redriven record's headers say, and that nothing in anybody's headers can hurt."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.record import Record
from pipeline.runtime.redrive_headers import (
    ATTEMPTS_HEADER,
    DEAD_LETTER_HEADER,
    Redriven,
    headers_of,
    redriven,
)

NAMES = st.sampled_from([DEAD_LETTER_HEADER, ATTEMPTS_HEADER, "trace"]) | st.text(max_size=5)


@given(st.integers(1, 1000), st.text(max_size=50))
def test_headers_say_what_was_put_into_them(attempts: int, reason: str) -> None:
    letter = str(uuid4())
    written = headers_of(letter, attempts, reason.encode("utf-8", "replace").decode())
    assert redriven(written) == Redriven(letter, attempts)
    assert redriven([("trace", b"x"), *written]) == Redriven(letter, attempts)


@given(st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=9) | st.text(max_size=9)), max_size=4))
def test_a_strangers_headers_are_never_an_error(headers: list[tuple[str, str | bytes | None]]) -> None:
    found = redriven(headers)
    assert found is None or found.attempts >= 1


def test_a_new_letter_counts_on_and_names_the_one_before() -> None:
    first = dead_letter(Record("t", 0, 1, 0, None, b""), "qualify", "why", 1, 0)
    back = Record("t", 0, 9, 0, None, b"", redriven(headers_of(first.dead_letter_id, 1, "why")))
    second = dead_letter(back, "qualify", "why", back.attempts, 0)
    assert (second.attempts, second.redriven_from) == (2, first.dead_letter_id)
    assert second.dead_letter_id != first.dead_letter_id

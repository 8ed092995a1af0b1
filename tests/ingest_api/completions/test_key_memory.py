"""A key that comes again with another content is found out while it is remembered, and never wrongly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest_api.completions.key_memory import KeyMemory, fingerprint
from pipeline.topology.file import KeyMemory as Limits
from schemas.records import Answer, Consent, Personal

ANA = Personal("+5547989211984", "Ana", None)
ANSWERS = st.dictionaries(
    st.text(max_size=3),
    st.text(max_size=3) | st.integers(-5, 5) | st.floats(allow_nan=False) | st.lists(st.text(max_size=2)),
    max_size=5,
)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def memory(clock: Clock, entries_max: int = 100) -> KeyMemory:
    return KeyMemory(Limits(entries_max=entries_max, age_s=60), clock)


def test_the_first_content_of_an_id_is_remembered_until_it_is_forgotten() -> None:
    keys = memory(Clock())
    one, other = fingerprint({"q": "a"}, ANA, None, None), fingerprint({"q": "b"}, ANA, None, None)

    found = [keys.remember("x", content) for content in (one, one, other, one)]

    assert found == [None, one, one, one]
    assert keys.remember("y", other) is None


@given(ANSWERS)
def test_the_same_content_in_any_order_is_the_same(answers: dict[str, Answer]) -> None:
    turned = dict(reversed(answers.items()))
    assert fingerprint(answers, ANA, None, 1.5) == fingerprint(turned, ANA, None, 1.5)


def test_each_part_of_the_content_counts() -> None:
    contents = [
        ({"q": "a"}, ANA, None, None),
        ({"q": ["a"]}, ANA, None, None),
        ({"q": ["a", "b"]}, ANA, None, None),
        ({"q": ["b", "a"]}, ANA, None, None),
        ({"q": "a", "r": "a"}, ANA, None, None),
        ({"r": "a"}, ANA, None, None),
        ({"q": "a"}, Personal("+5547989211984", "Eva", None), None, None),
        ({"q": "a"}, ANA, None, 1.0),
        ({"q": "a"}, ANA, Consent(True, "v3"), None),
        ({"q": "a"}, ANA, Consent(False, "v3"), None),
    ]
    assert len({fingerprint(*content) for content in contents}) == len(contents)  # type: ignore[arg-type]


def test_an_entry_is_kept_for_half_of_the_age_at_least_and_for_the_age_at_most() -> None:
    clock = Clock()
    keys = memory(clock)
    clock.now_s += 29
    keys.remember("x", 1)
    clock.now_s += 30
    assert keys.remember("x", 2) is not None
    clock.now_s += 31
    assert keys.remember("x", 2) is None


def test_after_a_long_silence_nothing_is_left() -> None:
    clock = Clock()
    keys = memory(clock)
    keys.remember("x", 1)
    clock.now_s += 60
    assert keys.remember("x", 2) is None


def test_there_are_never_more_entries_than_the_limit() -> None:
    keys = memory(Clock(), entries_max=10)
    for n in range(100):
        keys.remember(str(n), n)
        assert len(keys) <= 10
    assert keys.remember("99", 0) is not None
    assert keys.remember("0", 1) is None


def test_what_was_answered_with_an_error_is_forgotten() -> None:
    keys = memory(Clock())
    keys.remember("x", 1)
    keys.forget("x")
    assert keys.remember("x", 2) is None

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.webhooks.status_merge import PROOFS, RANKS, Becomes, Stays, Waits, merge

STATES = ["waiting", "leased", "calling", "ambiguous", "suppressed", "cancelled", "dead", *RANKS]
statuses = st.lists(st.sampled_from([*RANKS, "warning"]), max_size=6)


def end_of(state: str, told: list[str]) -> str:
    """After `told` in that order, and another look at those that had to wait."""
    waiting = []
    for status in told:
        match merge(state, status, of_last_attempt=True):
            case Becomes(state=after):
                state = after
            case Waits():
                waiting.append(status)
            case Stays():
                pass
    return end_of(state, waiting) if len(waiting) < len(told) else state


@given(st.sampled_from(STATES), st.data(), statuses)
def test_the_end_does_not_depend_on_the_order_nor_on_repeats(
    state: str, data: st.DataObject, told: list[str]
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(told), max_size=4)) if told else []
    shuffled = data.draw(st.permutations(told + repeats))

    assert end_of(state, shuffled) == end_of(state, told)


@given(statuses, st.integers(0, 6), st.sampled_from(["sent", "ambiguous"]))
def test_the_end_does_not_depend_on_when_the_calls_own_result_comes(
    told: list[str], place: int, result: str
) -> None:
    """The sender writes its result only over `calling`; what has overtaken it stays."""
    before, after = told[:place], told[place:]
    state = end_of("calling", before)
    if state == "calling":
        state = result
    late = end_of(state, told if state == result else after + told)

    assert late == end_of(result, told)


@given(st.sampled_from(STATES), statuses)
def test_a_delivery_that_arrived_never_goes_back(state: str, told: list[str]) -> None:
    end = end_of(state, told)

    assert RANKS.get(end, 0) >= RANKS.get(state, 0)
    if "delivered" in told or "read" in told:
        assert end in ("delivered", "read")


def test_a_proof_counts_for_an_older_attempt_and_a_failure_does_not() -> None:
    for state in ("waiting", "leased", "calling"):
        for proof in PROOFS:
            assert merge(state, proof, of_last_attempt=False) == Becomes(proof)
        assert merge(state, "failed", of_last_attempt=False) == Stays()
    # Refused for now and to be tried again: the provider may tell that in a webhook, too.
    for state in ("calling", "waiting", "leased"):
        assert merge(state, "failed", of_last_attempt=True) == Waits()

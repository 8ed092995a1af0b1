"""From an outcome to what is written down: every listed code, retries and their ends."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Personal
from sinks.actions import Action, FailMessage, FailRecipient, Retry
from sinks.actions import HoldNumber as Hold
from sinks.delivery.consequences import RetryPolicy, consequence
from sinks.delivery.rows import (
    NEXT_WITH_FALLBACKS,
    Attempt,
    HoldNumber,
    Key,
    Leased,
    RejectedAlike,
    Result,
    StopScope,
    StopTemplate,
    SuppressContact,
)
from sinks.outcomes import Ambiguous, NotCalled, NotWritten, Rejected, Sent
from sinks.whatsapp.meta_cloud.codes import action_of, listed_codes

POLICY = RetryPolicy(attempts_max=3, base_s=5, max_s=600, jitter_ratio=0.2)
KEY = Key(date(2026, 3, 1), "spring", "c" * 32)
STOP = StopScope("campaign:spring", "no")


def call(attempts: int = 1, template: str | None = "welcome") -> Attempt:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    delivery = Leased(KEY, UUID(int=1), "d", "acme", 1, {}, 0, now, now, attempts - 1, "+5511", Personal())
    return Attempt(delivery, UUID(int=2), "5511", 1, template)


def after(code: int, attempts: int = 1, retry_after_s: float = 0.0) -> Result:
    action = action_of(code, 400)
    assert action is not None
    refusal = Rejected(action, str(code), "no", retry_after_s)
    return consequence(call(attempts), refusal, POLICY, random.Random(1))


def test_sent_keeps_the_message_id() -> None:
    result = consequence(call(), Sent("wamid.1"), POLICY, random.Random(1))
    assert (result.state, result.provider_message_id) == ("sent", "wamid.1")


def test_ambiguous_is_never_tried_again_by_itself() -> None:
    result = consequence(call(), Ambiguous("timeout"), POLICY, random.Random(1))
    assert (result.state, result.due_in_s) == ("ambiguous", None)


def test_a_call_that_was_held_back_costs_no_attempt() -> None:
    result = consequence(call(attempts=3), NotCalled("slept"), POLICY, random.Random(1))
    assert (result.state, result.counted) == ("waiting", False)


@pytest.mark.parametrize("outcome", [NotWritten("gone"), Rejected(Retry(), "131057", "maintenance")])
def test_what_was_certainly_not_sent_is_tried_three_times_and_is_then_dead(
    outcome: NotWritten | Rejected,
) -> None:
    rng = random.Random(1)
    results = [consequence(call(attempts), outcome, POLICY, rng) for attempts in (1, 2, 3)]
    assert [result.state for result in results] == ["waiting", "waiting", "dead"]
    assert results[0].due_in_s is not None
    assert results[1].due_in_s is not None
    assert 4 <= results[0].due_in_s <= 6
    assert 8 <= results[1].due_in_s <= 12


def test_a_pair_waits_longer_each_time_by_the_providers_own_rule() -> None:
    assert [after(131056, attempts).due_in_s for attempts in range(1, 8)] == [1, 4, 16, 64, 256, 1024, 4096]
    assert after(131056, 8).state == "dead"


def test_the_ecosystem_limit_waits_a_day() -> None:
    assert after(131049).due_in_s == 86_400
    assert after(131049, 3).state == "dead"


@pytest.mark.parametrize("code", [4, 80007, 130429])
def test_a_throttle_delays_and_costs_no_attempt(code: int) -> None:
    for attempts in (1, 50):
        result = after(code, attempts)
        assert (result.state, result.counted) == ("waiting", False)
    assert after(code, retry_after_s=180).due_in_s == 180


@pytest.mark.parametrize(
    ("code", "state", "account"),
    [
        (190, "paused", False),
        (0, "paused", False),
        (10, "paused", False),
        (250, "paused", False),
        (368, "stopped", True),
        (131031, "stopped", True),
        (131042, "stopped", True),
        (131048, "quarantined", False),
        (133010, "stopped", False),
    ],
)
def test_what_is_wrong_with_the_number_holds_the_number_and_harms_no_delivery(
    code: int, state: str, account: bool
) -> None:
    result = after(code, attempts=3)
    assert (result.state, result.counted) == ("waiting", False)
    (hold,) = result.effects
    assert isinstance(hold, HoldNumber)
    assert (hold.number_id, hold.state, hold.whole_account) == ("5511", state, account)


@pytest.mark.parametrize("code", [100, 131008, 131009, 132000, 132005, 132012, 131053])
def test_what_may_be_wrong_with_one_message_only_fails_that_one_and_is_counted(code: int) -> None:
    result = after(code)
    assert result.state == "failed"
    assert result.effects == (RejectedAlike("spring", "c" * 32, str(code), "no", POLICY.rejected_alike_max),)


@pytest.mark.parametrize("code", [100, 131008, 131009, 132000, 132005, 132012, 131053])
def test_a_message_with_other_words_to_try_waits_for_them_and_counts_for_nothing_yet(code: int) -> None:
    action = action_of(code, 400)
    assert action is not None
    refusal = Rejected(action, str(code), "no", 90)

    result = consequence(call(attempts=9), refusal, POLICY, random.Random(1), replaceable=True)

    assert (result.state, result.outcome, result.with_fallbacks) == ("waiting", "rejected", True)
    assert (result.effects, result.due_in_s, result.counted) == ((), 90, True)
    assert (result.code, result.action) == (str(code), "fail_message")
    assert NEXT_WITH_FALLBACKS in result.reason


@given(st.sampled_from(listed_codes()), st.integers(1, 20))
def test_only_a_rejection_of_the_content_is_answered_with_other_words(code: int, attempts: int) -> None:
    action = action_of(code, 400)
    assert action is not None
    refusal = Rejected(action, str(code), "no")
    results = [
        consequence(call(attempts), refusal, POLICY, random.Random(1), replaceable=replaceable)
        for replaceable in (False, True)
    ]
    assert (results[0] != results[1]) == isinstance(action, FailMessage)


@pytest.mark.parametrize("code", [131057, 131056, 131000])
def test_a_retry_waits_as_long_as_the_provider_asks(code: int) -> None:
    assert after(code, retry_after_s=9_000).due_in_s == 9_000


@pytest.mark.parametrize("code", [132001, 132007])
def test_what_is_wrong_with_every_message_stops_its_campaign(code: int) -> None:
    result = after(code)
    assert (result.state, result.effects) == ("failed", (STOP,))


@pytest.mark.parametrize("code", [132015, 132016])
def test_a_paused_template_stops_all_that_use_it_and_fails_nobody(code: int) -> None:
    result = after(code)
    assert (result.state, result.effects) == ("waiting", (StopTemplate("acme", "welcome", "no"),))


@pytest.mark.parametrize("code", [131026, 130472, 131047])
def test_some_recipients_cannot_get_it(code: int) -> None:
    result = after(code)
    assert (result.state, result.effects) == ("failed", ())


def test_who_opted_out_at_the_provider_is_suppressed_here() -> None:
    result = after(131050)
    assert (result.state, result.effects) == ("suppressed", (SuppressContact("acme", "c" * 32, "no"),))


@given(st.integers(-10, 200_000), st.integers(400, 499), st.integers(1, 20))
def test_every_refusal_ends_in_a_state_and_keeps_code_and_action(
    code: int, status: int, attempts: int
) -> None:
    action = action_of(code, status)
    if action is None:
        return
    result = consequence(call(attempts), Rejected(action, str(code), "no"), POLICY, random.Random(1))
    assert result.state in ("waiting", "failed", "suppressed", "dead")
    assert (result.outcome, result.code, result.action) == ("rejected", str(code), action.name)


def test_no_listed_code_is_forgotten_by_the_consequences() -> None:
    refusals = [code for code in listed_codes() if action_of(code, None) is not None]
    assert len(refusals) > 35
    assert all(after(code).reason for code in refusals)


def test_a_code_that_is_not_listed_fails_the_delivery_and_stops_nothing_else() -> None:
    result = after(999_999)
    assert (result.state, result.effects, result.code) == ("failed", (), "999999")


@pytest.mark.parametrize(
    ("action", "name"),
    [(FailRecipient(), "fail_recipient"), (Hold("stopped", "account"), "hold_account"), (Retry(), "retry")],
)
def test_the_ledger_keeps_the_action_by_its_name(action: Action, name: str) -> None:
    refusal = Rejected(action, "E1", "no")
    assert consequence(call(), refusal, POLICY, random.Random(1)).action == name


@given(st.integers(1, 1_000), st.integers(0, 2**32))
def test_back_off_is_bounded(attempts: int, seed: int) -> None:
    assert 4 <= POLICY.backoff_s(attempts, random.Random(seed)) <= 720


def test_back_off_doubles_until_its_maximum_and_no_two_senders_wait_alike() -> None:
    even = dataclasses.replace(POLICY, jitter_ratio=0.0)
    waits = [even.backoff_s(attempts, random.Random(0)) for attempts in range(1, 12)]
    assert waits == [min(even.base_s * 2**number, even.max_s) for number in range(11)]
    assert waits[-1] == even.max_s
    assert len({POLICY.backoff_s(2, random.Random(seed)) for seed in range(20)}) == 20

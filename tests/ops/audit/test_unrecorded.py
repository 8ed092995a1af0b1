"""Providers without a record: the ledger's own attempts must explain every delivery, and contradict none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ops.audit.ledger_audit import LedgerAudit
from tests.ops.audit.test_ledger_audit import OTHER, THREE, TWO, judged

Change = Callable[[LedgerAudit], object]


def sent(has_message: bool = True) -> Change:
    return lambda audit: audit.delivery(OTHER, "sent", has_message)


def attempt(attempt_id: bytes, outcome: str | None, has_record: bool = False) -> Change:
    return lambda audit: audit.attempt(attempt_id, OTHER, outcome, has_record)


@pytest.mark.parametrize("outcome", ["sent", "ambiguous", "resolved_sent", None])
def test_a_delivery_of_a_provider_without_a_record_is_explained_by_its_attempt(outcome: str | None) -> None:
    report = judged(sent(), attempt(TWO, outcome))
    assert report.ok
    assert report.unrecorded == 1


def test_a_sent_delivery_without_message_and_without_a_call_that_may_be_sent_is_a_breach() -> None:
    assert judged(sent(has_message=False), attempt(TWO, "resolved_sent")).ok
    report = judged(sent(has_message=False), attempt(TWO, "rejected"))
    assert [(breach.kind, breach.count) for breach in report.breaches] == [("unexplained", 1)]


def test_where_a_record_is_read_the_attempt_alone_explains_nothing() -> None:
    report = judged(sent(), attempt(TWO, "sent", has_record=True))
    assert [breach.what for breach in report.breaches] == [
        "the ledger state is sent, the provider has no such call"
    ]


@pytest.mark.parametrize("has_record", [True, False])
def test_two_calls_that_may_have_been_sent_are_a_breach_by_the_ledger_alone(has_record: bool) -> None:
    first, second = attempt(TWO, "ambiguous", has_record), attempt(THREE, "sent", has_record)
    report = judged(lambda audit: audit.delivery(OTHER, "ambiguous"), first, second)
    assert [breach.what for breach in report.breaches] == ["a delivery has two calls that may have been sent"]
    after_certainty = [attempt(TWO, "rejected"), attempt(THREE, "sent")]
    assert judged(sent(), *after_certainty).ok


@pytest.mark.parametrize(("taken", "holds"), [(False, True), (True, False)])
def test_an_operators_not_sent_counts_unless_the_record_contradicts_it(taken: bool, holds: bool) -> None:
    """The call hung: the record shows it without an answer. A redrive after it is right only if it was."""
    report = judged(
        sent(),
        attempt(TWO, "resolved_not_sent", has_record=True),
        attempt(THREE, "sent", has_record=True),
        lambda audit: audit.call(TWO, taken=taken, certainly_not_sent=False),
        lambda audit: audit.call(THREE, taken=True, certainly_not_sent=False),
    )
    assert report.ok == holds
    assert report.twice == (0 if holds else 1)


def test_without_an_operators_word_a_call_without_an_answer_forbids_another() -> None:
    report = judged(
        sent(),
        attempt(TWO, "not_sent", has_record=True),
        attempt(THREE, "sent", has_record=True),
        lambda audit: audit.call(TWO, taken=False, certainly_not_sent=False),
        lambda audit: audit.call(THREE, taken=True, certainly_not_sent=False),
    )
    assert report.twice == 1

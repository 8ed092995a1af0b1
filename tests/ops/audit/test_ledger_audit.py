"""The laws of the ledger: each way of breaking one is seen, and nothing that is right is called broken."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid5

import pytest

from ops.audit import ledger_audit as flags
from ops.audit.ledger_audit import LedgerAudit, Report

SPACE = UUID("4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7cff")
PASSED = flags.ARCHIVE_DUE | flags.VERDICT_DUE


def an_id(name: str) -> bytes:
    return uuid5(SPACE, name).bytes


ONE, TWO, THREE = an_id("one"), an_id("two"), an_id("three")
DELIVERY, CALL, RETRY = an_id("delivery"), an_id("call"), an_id("retry")


def whole_story(audit: LedgerAudit) -> None:
    """One completion is matched and written to, one comes second, one matches nothing."""
    for completion_id in (ONE, TWO, THREE):
        audit.completion(completion_id, flags.IN_TOPIC | PASSED)
        audit.archive_row(completion_id)
        verdict = "unmatched" if completion_id == THREE else "matched"
        audit.verdict(completion_id, verdict, flags.VERDICT_ROW_DUE)
        audit.verdict(completion_id, verdict, flags.VERDICT_ROW)
    due = flags.BY_VERDICT | flags.MATCH_DUE | flags.MATCH | flags.SPLIT_DUE | flags.LEDGER_DUE
    audit.match(ONE, "campaign", due | flags.FIRST | flags.LEDGER)
    audit.match(TWO, "campaign", due | flags.REPEAT | flags.DUPLICATE_ROW)
    audit.delivery(DELIVERY, "read")
    audit.attempt(CALL, DELIVERY)
    audit.attempt(RETRY, DELIVERY)
    audit.provider_keeps_a_record()
    audit.call(CALL, taken=True, certainly_not_sent=False)


def judged(*changes: Callable[[LedgerAudit], object]) -> Report:
    audit = LedgerAudit()
    whole_story(audit)
    for change in changes:
        change(audit)
    return audit.judge()


def test_a_whole_story_breaks_no_law_and_every_figure_counts_ids() -> None:
    report = judged()
    assert report.ok
    assert report.breaches == []
    assert (report.accepted, report.archived, report.matched, report.unmatched) == (3, 3, 2, 1)
    assert (report.matches, report.deliveries, report.duplicates, report.sent) == (2, 1, 1, 1)
    assert (report.missing, report.twice, report.in_flight, report.calls) == (0, 0, 0, 1)


def test_reading_everything_twice_changes_nothing() -> None:
    """Topics may hold a record twice; tables may not hold a row twice, and were entered once."""
    again = [
        lambda audit: audit.completion(ONE, flags.IN_TOPIC | PASSED),
        lambda audit: audit.verdict(ONE, "matched", flags.VERDICT_ROW_DUE),
        lambda audit: audit.match(ONE, "campaign", flags.FIRST),
    ]
    assert judged(*again) == judged()


OTHER = an_id("other")

BREACHES = [
    (lambda b: b.completion(OTHER, flags.CLIENT), "missing", "a client received a 202"),
    (
        lambda b: b.completion(OTHER, flags.IN_TOPIC | flags.ARCHIVE_DUE),
        "missing",
        "not in the table of comp",
    ),
    (lambda b: b.completion(OTHER, flags.IN_TOPIC | flags.VERDICT_DUE), "missing", "without a verdict"),
    (lambda b: b.archive_row(OTHER), "unexplained", "never in the topic"),
    (lambda b: b.archive_row(ONE), "twice", "two rows"),
    (lambda b: b.verdict(ONE, "limited"), "twice", "two different verdicts"),
    (lambda b: b.verdict(ONE, "matched", flags.VERDICT_ROW), "twice", "two rows of verdicts"),
    (lambda b: b.verdict(OTHER, "unmatched"), "unexplained", "a verdict has no completion"),
    (
        lambda b: (
            b.completion(OTHER, flags.IN_TOPIC),
            b.archive_row(OTHER),
            b.verdict(OTHER, "limited", flags.VERDICT_ROW_DUE),
        ),
        "missing",
        "not in the table of verdicts",
    ),
    (lambda b: b.undecodable(3, 7, due=True), "missing", "no dead letter"),
    (lambda b: b.match(ONE, "late", flags.BY_VERDICT | flags.MATCH_DUE), "missing", "no match was published"),
    (lambda b: b.match(ONE, "late", flags.MATCH | flags.SPLIT_DUE), "missing", "neither delivery nor"),
    (
        lambda b: b.match(ONE, "late", flags.MATCH | flags.FIRST | flags.LEDGER_DUE),
        "missing",
        "neither in the ledger",
    ),
    (lambda b: b.match(ONE, "campaign", flags.DUPLICATE_ROW), "twice", "both a delivery and a duplicate"),
    (lambda b: b.match(ONE, "nobody", flags.LEDGER), "unexplained", "no verdict that names it"),
    (lambda b: b.call(RETRY, True, False), "twice", "called again"),
    (lambda b: b.call(RETRY, False, True), "twice", "called again"),
    (lambda b: b.call(OTHER, True, False), "unexplained", "no attempt"),
    (lambda b: b.call(None, True, False), "unexplained", "no attempt"),
    (lambda b: b.delivery(OTHER, "sent"), "unexplained", "the provider has no such call"),
    (lambda b: b.delivery(DELIVERY, "waiting"), "missing", "the ledger state is waiting"),
]


@pytest.mark.parametrize(("change", "kind", "said"), BREACHES)
def test_each_breach_is_seen_and_shown_by_its_id(
    change: Callable[[LedgerAudit], object], kind: str, said: str
) -> None:
    report = judged(change)
    assert not report.ok
    assert [(breach.kind, breach.count) for breach in report.breaches if said in breach.what] == [(kind, 1)]
    assert all(breach.examples for breach in report.breaches)
    assert report.missing >= (kind == "missing")
    assert report.twice >= (kind == "twice")


def test_a_second_call_is_right_after_one_that_certainly_sent_nothing() -> None:
    def retried(audit: LedgerAudit) -> None:
        audit.delivery(OTHER, "sent")
        audit.attempt(TWO, OTHER)
        audit.attempt(THREE, OTHER)
        audit.call(TWO, taken=False, certainly_not_sent=True)
        audit.call(THREE, taken=True, certainly_not_sent=False)

    assert judged(retried).ok


def test_what_nobody_has_passed_yet_is_in_flight_and_not_missing() -> None:
    report = judged(
        lambda audit: audit.completion(OTHER, flags.IN_TOPIC),
        lambda audit: audit.match(ONE, "late", flags.BY_VERDICT),
        lambda audit: audit.undecodable(3, 7, due=False),
    )
    assert report.ok
    assert (report.in_flight, report.missing) == (3, 0)


def test_dead_letters_account_for_what_they_hold() -> None:
    def dead(audit: LedgerAudit) -> None:
        audit.completion(OTHER, flags.IN_TOPIC | PASSED)
        audit.completion(OTHER, flags.DEAD)
        audit.completion(OTHER, flags.DEAD_ROW)
        audit.undecodable(3, 7, due=True)
        audit.dead_position(3, 7)
        audit.match(ONE, "late", flags.BY_VERDICT | flags.MATCH | flags.SPLIT_DUE | flags.DEAD_MATCH)

    report = judged(dead)
    assert report.ok, report.breaches
    assert report.accepted == report.limited + report.unmatched + report.matched + report.dead == 5
    assert (report.dead, report.undecodable) == (2, 1)


def test_where_retention_has_removed_the_topics_beginning_old_rows_are_no_wonder() -> None:
    audit = LedgerAudit()
    audit.whole = False
    audit.archive_row(ONE)
    audit.verdict(ONE, "matched", flags.VERDICT_ROW)
    audit.match(ONE, "campaign", flags.BY_VERDICT | flags.LEDGER)
    assert audit.judge().ok


def test_examples_are_bounded_and_the_count_is_not() -> None:
    audit = LedgerAudit()
    for number in range(500):
        audit.completion(an_id(str(number)), flags.IN_TOPIC | flags.VERDICT_DUE)
    (breach,) = audit.judge().breaches
    assert (breach.count, len(breach.examples)) == (500, flags.EXAMPLES_MAX)

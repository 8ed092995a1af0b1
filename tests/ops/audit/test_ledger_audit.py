"""The laws of the ledger: each way of breaking one is seen, and nothing that is right is called broken."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid5

import pytest

from ops.audit import ledger_audit as marks
from ops.audit.ledger_audit import Books, Report

SPACE = UUID("4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7cff")
PASSED = marks.ARCHIVE_DUE | marks.VERDICT_DUE


def an_id(name: str) -> bytes:
    return uuid5(SPACE, name).bytes


ONE, TWO, THREE = an_id("one"), an_id("two"), an_id("three")
DELIVERY, CALL, RETRY = an_id("delivery"), an_id("call"), an_id("retry")


def whole_story(books: Books) -> None:
    """One completion is matched and written to, one comes second, one matches nothing."""
    for completion_id in (ONE, TWO, THREE):
        books.completion(completion_id, marks.IN_TOPIC | PASSED)
        books.archive_row(completion_id)
        verdict = "unmatched" if completion_id == THREE else "matched"
        books.verdict(completion_id, verdict, marks.VERDICT_ROW_DUE)
        books.verdict(completion_id, verdict, marks.VERDICT_ROW)
    due = marks.BY_VERDICT | marks.MATCH_DUE | marks.MATCH | marks.SPLIT_DUE | marks.LEDGER_DUE
    books.match(ONE, "campaign", due | marks.FIRST | marks.LEDGER)
    books.match(TWO, "campaign", due | marks.REPEAT | marks.DUPLICATE_ROW)
    books.delivery(DELIVERY, "read")
    books.attempt(CALL, DELIVERY)
    books.attempt(RETRY, DELIVERY)
    books.provider_keeps_a_record()
    books.call(CALL, taken=True, certainly_not_sent=False)


def judged(*changes: Callable[[Books], object]) -> Report:
    books = Books()
    whole_story(books)
    for change in changes:
        change(books)
    return books.judge()


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
        lambda books: books.completion(ONE, marks.IN_TOPIC | PASSED),
        lambda books: books.verdict(ONE, "matched", marks.VERDICT_ROW_DUE),
        lambda books: books.match(ONE, "campaign", marks.FIRST),
    ]
    assert judged(*again) == judged()


OTHER = an_id("other")

BREACHES = [
    (lambda b: b.completion(OTHER, marks.CLIENT), "missing", "a client was told"),
    (
        lambda b: b.completion(OTHER, marks.IN_TOPIC | marks.ARCHIVE_DUE),
        "missing",
        "not in the table of comp",
    ),
    (lambda b: b.completion(OTHER, marks.IN_TOPIC | marks.VERDICT_DUE), "missing", "without a verdict"),
    (lambda b: b.archive_row(OTHER), "unexplained", "never in the topic"),
    (lambda b: b.archive_row(ONE), "twice", "two rows"),
    (lambda b: b.verdict(ONE, "limited"), "twice", "two different verdicts"),
    (lambda b: b.verdict(ONE, "matched", marks.VERDICT_ROW), "twice", "two rows of verdicts"),
    (lambda b: b.verdict(OTHER, "unmatched"), "unexplained", "a verdict has no completion"),
    (
        lambda b: (
            b.completion(OTHER, marks.IN_TOPIC),
            b.archive_row(OTHER),
            b.verdict(OTHER, "limited", marks.VERDICT_ROW_DUE),
        ),
        "missing",
        "not in the table of verdicts",
    ),
    (lambda b: b.undecodable(3, 7, due=True), "missing", "no dead letter"),
    (lambda b: b.match(ONE, "late", marks.BY_VERDICT | marks.MATCH_DUE), "missing", "no match was sent on"),
    (lambda b: b.match(ONE, "late", marks.MATCH | marks.SPLIT_DUE), "missing", "neither delivery nor"),
    (
        lambda b: b.match(ONE, "late", marks.MATCH | marks.FIRST | marks.LEDGER_DUE),
        "missing",
        "neither in the ledger",
    ),
    (lambda b: b.match(ONE, "campaign", marks.DUPLICATE_ROW), "twice", "both a delivery and a duplicate"),
    (lambda b: b.match(ONE, "nobody", marks.LEDGER), "unexplained", "no verdict that names it"),
    (lambda b: b.call(RETRY, True, False), "twice", "called again"),
    (lambda b: b.call(RETRY, False, True), "twice", "called again"),
    (lambda b: b.call(OTHER, True, False), "unexplained", "no attempt"),
    (lambda b: b.call(None, True, False), "unexplained", "no attempt"),
    (lambda b: b.delivery(OTHER, "sent"), "unexplained", "the provider has no such call"),
    (lambda b: b.delivery(DELIVERY, "waiting"), "missing", "the ledger says waiting"),
]


@pytest.mark.parametrize(("change", "kind", "said"), BREACHES)
def test_each_breach_is_seen_and_shown_by_its_id(
    change: Callable[[Books], object], kind: str, said: str
) -> None:
    report = judged(change)
    assert not report.ok
    assert [(breach.kind, breach.count) for breach in report.breaches if said in breach.what] == [(kind, 1)]
    assert all(breach.examples for breach in report.breaches)
    assert report.missing >= (kind == "missing")
    assert report.twice >= (kind == "twice")


def test_a_second_call_is_right_after_one_that_certainly_sent_nothing() -> None:
    def retried(books: Books) -> None:
        books.delivery(OTHER, "sent")
        books.attempt(TWO, OTHER)
        books.attempt(THREE, OTHER)
        books.call(TWO, taken=False, certainly_not_sent=True)
        books.call(THREE, taken=True, certainly_not_sent=False)

    assert judged(retried).ok


def test_what_nobody_has_passed_yet_is_in_flight_and_not_missing() -> None:
    report = judged(
        lambda books: books.completion(OTHER, marks.IN_TOPIC),
        lambda books: books.match(ONE, "late", marks.BY_VERDICT),
        lambda books: books.undecodable(3, 7, due=False),
    )
    assert report.ok
    assert (report.in_flight, report.missing) == (3, 0)


def test_dead_letters_account_for_what_they_hold() -> None:
    def dead(books: Books) -> None:
        books.completion(OTHER, marks.IN_TOPIC | PASSED)
        books.completion(OTHER, marks.DEAD)
        books.completion(OTHER, marks.DEAD_ROW)
        books.undecodable(3, 7, due=True)
        books.dead_position(3, 7)
        books.match(ONE, "late", marks.BY_VERDICT | marks.MATCH | marks.SPLIT_DUE | marks.DEAD_MATCH)

    report = judged(dead)
    assert report.ok, report.breaches
    assert report.accepted == report.limited + report.unmatched + report.matched + report.dead == 5
    assert (report.dead, report.undecodable) == (2, 1)


def test_where_retention_has_removed_the_topics_beginning_old_rows_are_no_wonder() -> None:
    books = Books()
    books.whole = False
    books.archive_row(ONE)
    books.verdict(ONE, "matched", marks.VERDICT_ROW)
    books.match(ONE, "campaign", marks.BY_VERDICT | marks.LEDGER)
    assert books.judge().ok


def test_examples_are_bounded_and_the_count_is_not() -> None:
    books = Books()
    for number in range(500):
        books.completion(an_id(str(number)), marks.IN_TOPIC | marks.VERDICT_DUE)
    (breach,) = books.judge().breaches
    assert (breach.count, len(breach.examples)) == (500, marks.EXAMPLES_MAX)

"""A dead letter excuses its record until a copy of it was passed: a copy that gets lost is missed."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from ops.audit import ledger_audit as flags
from ops.audit.dead_letter_audit import DeadLetterAudit
from ops.audit.ledger_audit import LedgerAudit, Report
from pipeline.runtime.record import Record
from pipeline.runtime.redrive_headers import Redriven
from pipeline.topology.loader import load
from schemas.codec import codec
from tests.support.stage_events import completion

TOPOLOGY = load(Path(__file__).resolve().parents[3] / "topology.yaml")
RAW = TOPOLOGY.topic("completions").name
COMPLETION = completion()
VALUE = codec("completion").encode(COMPLETION)
ID = UUID(COMPLETION.completion_id).bytes
FIRST, SECOND = "00000000-0000-5000-8000-000000000001", "00000000-0000-5000-8000-000000000002"
COPY = Record(RAW, 0, 9, 0, b"", VALUE, Redriven(FIRST, 1))


def judged(evidence: DeadLetterAudit, *more: int) -> Report:
    audit = LedgerAudit()
    audit.completion(ID, flags.IN_TOPIC | flags.ARCHIVED | flags.VERDICT_DUE | sum(more))
    evidence.enter(audit)
    return audit.judge()


def test_a_letter_accounts_for_its_completion() -> None:
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (RAW, 0, 1), "qualify", VALUE)
    report = judged(evidence)
    assert (report.ok, report.accepted, report.dead) == (True, 1, 1)


def test_a_copy_that_is_on_its_way_changes_nothing_yet() -> None:
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (RAW, 0, 1), "qualify", VALUE)
    evidence.record(COPY, by_stage=False, by_sink=True)
    assert (judged(evidence).ok, judged(evidence).dead) == (True, 1)


def test_a_copy_that_was_passed_must_have_left_something() -> None:
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (RAW, 0, 1), "qualify", VALUE)
    evidence.record(COPY, by_stage=True, by_sink=True)
    lost = judged(evidence)
    assert [breach.what for breach in lost.breaches] == ["accepted, without a verdict or a dead letter"]
    done = judged(evidence, flags.UNMATCHED)
    assert (done.ok, done.dead, done.unmatched) == (True, 0, 1)


def test_a_copy_that_died_again_has_a_letter_of_its_own() -> None:
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (RAW, 0, 1), "qualify", VALUE)
    evidence.letter(SECOND, (RAW, 0, 9), "qualify", VALUE)
    evidence.record(COPY, by_stage=True, by_sink=True)
    report = judged(evidence)
    assert (report.ok, report.accepted, report.dead) == (True, 1, 1)


@pytest.mark.parametrize(("by_sink", "excused"), [(False, True), (True, False)])
def test_an_archives_letter_is_judged_by_the_archives_progress(by_sink: bool, excused: bool) -> None:
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (RAW, 0, 1), "sink:completions", VALUE)
    evidence.record(COPY, by_stage=True, by_sink=by_sink)
    audit = LedgerAudit()
    audit.completion(ID, flags.IN_TOPIC | flags.ARCHIVE_DUE | flags.UNMATCHED)
    evidence.enter(audit)
    assert audit.judge().ok is excused


def test_a_record_that_is_no_completion_stays_dead_however_often_it_is_redriven() -> None:
    evidence, audit = DeadLetterAudit(TOPOLOGY), LedgerAudit()
    evidence.letter(FIRST, (RAW, 0, 1), "qualify", b"junk")
    evidence.record(COPY, by_stage=True, by_sink=True)
    audit.undecodable(0, 1, due=True)
    evidence.enter(audit)
    report = audit.judge()
    assert (report.ok, report.accepted, report.dead) == (True, 1, 1)


def test_a_letter_whose_record_was_erased_accounts_by_the_ids_of_its_row() -> None:
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (RAW, 0, 1), "qualify", None, COMPLETION.completion_id)
    report = judged(evidence)
    assert (report.ok, report.accepted, report.dead) == (True, 1, 1)


def test_an_erased_match_is_settled_by_the_campaign_of_its_row() -> None:
    evidence, books = DeadLetterAudit(TOPOLOGY), LedgerAudit()
    matches = TOPOLOGY.topic("matches").name
    evidence.letter(FIRST, (matches, 0, 1), "dedup", None, COMPLETION.completion_id, "winter")
    books.match(ID, "winter", flags.BY_VERDICT | flags.MATCH | flags.SPLIT_DUE)
    evidence.enter(books)
    report = books.judge()
    assert (report.ok, report.in_flight) == (True, 0)


def test_a_webhook_counts_until_its_copy_was_processed() -> None:
    topic = TOPOLOGY.topic("provider_webhooks").name
    evidence = DeadLetterAudit(TOPOLOGY)
    evidence.letter(FIRST, (topic, 2, 7), "sink:provider_statuses", b"{")
    assert judged(evidence, flags.UNMATCHED).dead_webhooks == 1

    evidence.record(Record(topic, 2, 9, 0, b"", b"{", Redriven(FIRST, 1)), by_stage=False, by_sink=True)
    assert judged(evidence, flags.UNMATCHED).dead_webhooks == 0

"""Verdicts are functions of the log: the same for every way of reading it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.campaigns.registry import CampaignBook
from pipeline.runtime.record import Record
from pipeline.stages.contact_memory import Allowed, ContactMemory, Limited, decode, encode
from pipeline.stages.qualify import Qualify, Wiring
from pipeline.topology.file import Window, Windows
from schemas.codec import codec
from schemas.records import Campaign, Condition, Match, Outcome
from tests.support.stage_events import NOON_MS, campaign, completion, record
from tests.support.stage_log import StageLog

CAMPAIGNS = (
    campaign("everybody"),
    campaign("good", conditions=(Condition("score", "gte", [8.0]),)),
    campaign("later", effective_at=NOON_MS + 60_000),
)


def windows(limit: int = 3, quiz_limit: int = 2, remembered: int = 64) -> Windows:
    return Windows(
        contact=Window(limit=limit, window_s=60),
        contact_quiz=Window(limit=quiz_limit, window_s=30),
        remembered_per_contact_max=remembered,
    )


def stage_log(
    of: Windows | None = None, campaigns: Sequence[Campaign] = CAMPAIGNS, limited_max: int = 256
) -> StageLog:
    book = CampaignBook(now_ms=lambda: 0)
    for each in campaigns:
        book.apply(each)
    wiring = Wiring("outcomes", "matches", "contact_windows", of or windows(), limited_max)
    return StageLog(Qualify(wiring, book.snapshot))


def outcomes(log: StageLog) -> list[Outcome]:
    return [codec("outcome").decode(output.value) for output in log.to("outcomes")]


def matches(log: StageLog) -> list[Match]:
    return [codec("match").decode(output.value) for output in log.to("matches")]


def verdicts(log: StageLog) -> list[tuple[str, str]]:
    return [(outcome.verdict, outcome.reason) for outcome in outcomes(log)]


def test_each_completion_gets_one_verdict_and_each_campaign_a_match() -> None:
    log = stage_log()
    log.run([record(completion(1, score=9.0), 0), record(completion(2, score=1.0, contact_id="d" * 32), 1)])
    assert verdicts(log) == [("matched", ""), ("matched", "")]
    assert [[c.campaign_id for c in each.campaigns] for each in outcomes(log)] == [
        ["everybody", "good"],
        ["everybody"],
    ]
    assert [(event.campaign_id, event.contact_id[0]) for event in matches(log)] == [
        ("everybody", "c"),
        ("good", "c"),
        ("everybody", "d"),
    ]
    assert log.to("matches")[0].key == b"everybody|" + b"c" * 32
    assert log.to("outcomes")[0].key == b"c" * 32
    assert [(each.source_partition, each.source_offset) for each in outcomes(log)] == [(0, 0), (0, 1)]


def test_completions_of_one_chunk_see_each_other() -> None:
    log = stage_log()
    log.run([record(completion(number), number) for number in range(4)])
    assert [verdict for verdict, _ in verdicts(log)] == ["matched", "matched", "limited", "limited"]
    assert verdicts(log)[2] == ("limited", "contact_quiz: 2 in 30 s")


def test_one_completion_a_thousand_times_counts_once() -> None:
    log = stage_log()
    log.run_all([record(completion(1), offset) for offset in range(1_000)], 100)
    assert len(outcomes(log)) == 1
    log.run([record(completion(2), 1_000)])
    assert verdicts(log)[-1] == ("matched", "")


def test_a_repeat_renews_the_memory_once_and_a_rewind_does_not() -> None:
    """A memory expires so long after its last record, repeats included: a repeat may be redriven in turn."""
    log = stage_log()
    stage = log.stage
    first, again = record(completion(1), 0), record(completion(1), 7)
    log.run([first])
    (put,) = stage.process([again], log.read).puts
    assert decode(put.value).decided_to == 7
    log.run([again])
    assert stage.process([first, again], log.read).puts == []


def test_without_a_phone_windows_count_and_nobody_is_written_to() -> None:
    log = stage_log()
    log.run([record(completion(number, phone=None), number) for number in range(3)])
    assert [verdict for verdict, _ in verdicts(log)] == ["unmatched", "unmatched", "limited"]
    assert verdicts(log)[0] == ("unmatched", "no phone")
    log.run([record(completion(0, phone=None), 0)])
    assert verdicts(log)[-1] == ("unmatched", "no phone")


def test_a_rewound_log_repeats_its_verdicts_whatever_campaigns_came_since() -> None:
    records = [record(completion(1), 0), record(completion(2), 1), record(completion(3), 2)]
    log = stage_log()
    log.run(records)
    before = list(log.delivered)
    book = CampaignBook(now_ms=lambda: 0)
    for each in (*CAMPAIGNS, campaign("backdated", effective_at=0)):
        book.apply(each)
    log.stage = Qualify(Wiring("outcomes", "matches", "contact_windows", windows()), book.snapshot)
    log.delivered.clear()
    log.run(records)
    assert log.delivered == before


def test_a_match_of_a_campaign_that_is_gone_from_the_reference_data_is_not_invented() -> None:
    log = stage_log()
    log.run([record(completion(1), 0)])
    log.stage = stage_log(campaigns=()).stage
    log.delivered.clear()
    log.run([record(completion(1), 0)])
    assert [[c.campaign_id for c in each.campaigns] for each in outcomes(log)] == [["everybody"]]
    assert matches(log) == []


def test_bad_records_are_poison_and_the_others_go_on() -> None:
    log = stage_log()
    unreadable = Record("completions", 0, 0, 0, b"c" * 32, b"\x00nothing")
    empty = Record("completions", 0, 1, 0, b"c" * 32, None)
    misplaced = Record("completions", 0, 2, 0, b"d" * 32, record(completion(1), 2).value)
    log.run([unreadable, empty, misplaced, record(completion(1), 3)])
    assert [poison.record.offset for poison in log.poison] == [0, 1, 2]
    assert {poison.stage for poison in log.poison} == {"qualify"}
    assert len(outcomes(log)) == 1


def test_a_batch_of_poison_reads_no_state() -> None:
    log = stage_log()
    log.run([Record("completions", 0, 0, 0, None, b"")])
    assert len(log.poison) == 1


def test_what_is_forgotten_is_not_judged_again() -> None:
    """Given a memory of three: the first of five, read again, is neither limited nor sent anew."""
    log = stage_log(windows(remembered=3))
    records = [
        record(completion(number, accepted_at=NOON_MS + number * 60_000), number) for number in range(5)
    ]
    log.run(records)
    log.delivered.clear()
    log.run(records[:1])
    assert log.delivered == []
    log.run(records[1:])
    assert [outcome.source_offset for outcome in outcomes(log)] == [2, 3, 4]


def test_a_topic_recreated_under_a_kept_state_is_dead_letters_and_no_silence() -> None:
    log = stage_log()
    log.run([record(completion(1), 100)])
    log.run([record(completion(2, accepted_at=NOON_MS + 3_600_000), 0)])
    assert [poison.record.offset for poison in log.poison] == [0]
    assert "recreated" in log.poison[0].reason


def test_a_memory_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="remembered_per_contact_max is 2"):
        stage_log(windows(limit=3, remembered=2))


entries = st.builds(
    Allowed,
    st.integers(0, 2**50),
    st.uuids().map(str),
    st.text(max_size=5),
    st.integers(0, 2**60),
    st.lists(st.tuples(st.text(max_size=5), st.integers(1, 99)), max_size=3).map(tuple),
)
refusals = st.builds(
    Limited,
    st.integers(0, 2**50),
    st.uuids().map(str),
    st.text(max_size=5),
    st.integers(0, 2**60),
    st.text(max_size=5),
)


@given(st.lists(entries, max_size=4), st.lists(refusals, max_size=4), st.integers(-1, 2**60))
def test_a_memory_survives_its_bytes(allowed: list[Allowed], limited: list[Limited], decided_to: int) -> None:
    memory = ContactMemory(decided_to, allowed, limited)
    assert decode(encode(memory)) == memory
    assert decode(None) == ContactMemory()


class Contact:
    """Judges by hand, without forgetting: the oracle."""

    def __init__(self) -> None:
        self.allowed: list[tuple[int, str]] = []
        self.seen: set[str] = set()


logs = st.lists(
    st.tuples(
        st.integers(0, 11),  # completion: few, so that ids repeat
        st.sampled_from("cd"),
        st.sampled_from(["a", "b"]),
        st.integers(0, 100),  # second of acceptance, out of order
        st.sampled_from([0.0, 9.0]),
    ),
    max_size=40,
)
readings = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15), st.booleans()), max_size=12)
Drawn = list[tuple[int, str, str, int, float]]


def made(log: Drawn) -> list[Record]:
    """A completion id belongs to one contact, as the edge's ids do; its other fields may differ."""
    records = []
    for offset, (number, contact, quiz, second, score) in enumerate(log):
        event = completion(
            number + (100 if contact == "d" else 0),
            quiz_id=quiz,
            contact_id=contact * 32,
            accepted_at=NOON_MS + second * 1_000,
            score=score,
        )
        records.append(record(event, offset))
    return records


@given(logs)
def test_verdicts_equal_those_of_an_oracle_that_forgets_nothing(log: Drawn) -> None:
    stage = stage_log(campaigns=[campaign(quiz_ids=("a", "b"))])
    stage.run_all(made(log), 7)
    contacts = {"c": Contact(), "d": Contact()}
    expected = {}
    for offset, (number, contact, quiz, second, _) in enumerate(log):
        memory = contacts[contact]
        if str(number) in memory.seen:
            continue
        memory.seen.add(str(number))
        of_contact = sum(second - 60 < at <= second for at, _ in memory.allowed)
        of_quiz = sum(second - 30 < at <= second and of == quiz for at, of in memory.allowed)
        if of_contact >= 3 or of_quiz >= 2:
            expected[offset] = "limited"
        else:
            expected[offset] = "matched"
            memory.allowed.append((second, quiz))
    assert {outcome.source_offset: outcome.verdict for outcome in outcomes(stage)} == expected


@settings(max_examples=200)
@given(logs, readings, st.sampled_from([(64, 256), (3, 1)]))
def test_any_reading_of_the_log_gives_the_same_verdicts(
    log: Drawn, chunks: list[tuple[int, int, bool]], memory: tuple[int, int]
) -> None:
    """Given readings from anywhere, in other chunks, with crashes between outputs and state, with a memory
    that is ahead of them, and with one so small that it forgets: every output is one that a single reading
    gives, and none of those is missing. Times are out of order by less than the largest window."""
    records = made(
        [(number, contact, quiz, second % 60, score) for number, contact, quiz, second, score in log]
    )
    campaigns = (
        campaign("a", quiz_ids=("a",)),
        campaign("b", quiz_ids=("a", "b"), effective_at=NOON_MS + 30_000),
    )
    of = windows(remembered=memory[0])
    once = stage_log(of, campaigns, memory[1])
    once.run_all(records)
    again = stage_log(of, campaigns, memory[1])
    done = 0
    for start, length, crash in chunks:
        start = min(start, done)
        if chunk := records[start : start + length]:
            again.run(chunk, crash_before_state=crash)
            done = done if crash else max(done, start + length)
    again.run_all(records[done:], 4)
    again.run_all(records, 5)
    assert set(map(str, again.delivered)) == set(map(str, once.delivered))
    assert not again.poison

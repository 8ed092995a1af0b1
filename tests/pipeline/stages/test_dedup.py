"""The first match of (campaign, contact) is delivered, and only that one, however the log is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.record import Output, Record
from pipeline.stages.dedup import Dedup, Wiring
from pipeline.stages.match import match_event
from schemas.codec import codec
from schemas.ids import match_key
from tests.support.stage_events import as_record, campaign, completion
from tests.support.stage_log import StageLog


def stage_log() -> StageLog:
    return StageLog(Dedup(Wiring("deliveries", "duplicates", "delivered")))


def match_record(
    offset: int, number: int, campaign_id: str = "welcome", contact_id: str = "c" * 32
) -> Record:
    event = match_event(completion(number, contact_id=contact_id), campaign(campaign_id), None)
    key = match_key(campaign_id, contact_id)
    return as_record(Output("matches", key, codec("match").encode(event)), offset)


def delivered(log: StageLog) -> set[tuple[bytes, str]]:
    """(campaign|contact, completion id) of each delivery."""
    return {(out.key, codec("match").decode(out.value).completion_id) for out in log.to("deliveries")}


def duplicated(log: StageLog) -> set[tuple[str, str, str]]:
    events = [codec("duplicate").decode(out.value) for out in log.to("duplicates")]
    return {(event.campaign_id, event.completion_id, event.first_completion_id) for event in events}


def test_the_first_match_is_delivered_and_the_next_names_it() -> None:
    log = stage_log()
    first, second = match_record(0, 1), match_record(1, 2)
    log.run([first, second])
    assert log.to("deliveries") == [Output("deliveries", first.key or b"", first.value or b"")]
    ids = [completion(number).completion_id for number in (1, 2)]
    assert duplicated(log) == {("welcome", ids[1], ids[0])}


def test_campaigns_and_contacts_are_apart() -> None:
    log = stage_log()
    log.run([match_record(0, 1), match_record(1, 1, "other"), match_record(2, 2, contact_id="d" * 32)])
    assert len(log.to("deliveries")) == 3
    assert not log.to("duplicates")


def test_a_crash_before_the_state_repeats_the_delivery_and_never_picks_another() -> None:
    log = stage_log()
    log.run([match_record(0, 1)], crash_before_state=True)
    log.run([match_record(0, 1), match_record(1, 2)])
    assert len(log.to("deliveries")) == 2
    assert len(delivered(log)) == 1


def test_bad_records_are_poison_and_the_others_go_on() -> None:
    log = stage_log()
    good = match_record(2, 1)
    unreadable = Record("matches", 0, 0, 0, b"k", b"no match")
    misplaced = Record("matches", 0, 1, 0, b"other|" + b"c" * 32, match_record(1, 1).value)
    log.run([unreadable, misplaced, good])
    assert [poison.record.offset for poison in log.poison] == [0, 1]
    assert "key" in log.poison[1].reason
    assert len(log.to("deliveries")) == 1


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from("ab"), st.sampled_from("cd")), max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6), st.booleans()), max_size=10),
)
def test_any_reading_of_the_log_delivers_the_same(
    matches: list[tuple[int, str, str]], readings: list[tuple[int, int, bool]]
) -> None:
    """Given readings from anywhere, in any chunks, some of which crash before their state is written.

    A log is read without gaps: a reading never begins above what an earlier one has finished.
    """
    records = [
        match_record(offset, number, name, contact * 32)
        for offset, (number, name, contact) in enumerate(matches)
    ]
    once = stage_log()
    if records:
        once.run(records)
    again = stage_log()
    done = 0
    for start, length, crash in [*readings, *((0, 3, False) for _ in range(1))]:
        start = min(start, done)
        chunk = records[start : start + length]
        if chunk:
            again.run(chunk, crash_before_state=crash)
            done = done if crash else max(done, start + length)
    again.run_all(records, 2)
    assert delivered(again) == delivered(once)
    assert duplicated(again) == duplicated(once)

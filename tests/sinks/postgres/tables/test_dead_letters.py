from __future__ import annotations

from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.record import Record
from schemas.codec import codec
from schemas.records import DeadLetter
from sinks.postgres.tables.dead_letters import DeadLetterArchive
from tests.support.samples import NOW_MS, completion, number
from tests.support.sinks import Corner


def letter_of(corner: Corner, role: str, value: bytes | None, offset: int) -> DeadLetter:
    record = Record(corner.topology.topic(role).name, 2, offset, NOW_MS, b"key", value)
    return dead_letter(record, "qualify", "a reason", 3, NOW_MS)


def test_a_dead_letter_is_kept_whole_and_names_its_completion(corner: Corner) -> None:
    value = codec("completion").encode(completion(7))

    corner.write(DeadLetterArchive(corner.topology), [letter_of(corner, "completions", value, 5)])

    assert corner.rows(
        "SELECT source_topic, source_partition, source_offset, stage, reason, attempts, completion_id::text,"
        " key, value FROM dead_letters"
    ) == [
        (corner.topology.topic("completions").name, 2, 5, "qualify", "a reason", 3, number(7), b"key", value)
    ]


def test_a_record_that_tells_no_completion_is_kept_without_one(corner: Corner) -> None:
    odd_id = codec("completion").encode(completion(7, completion_id="no UUID"))
    letters = [
        letter_of(corner, "completions", b"not Avro", 0),
        letter_of(corner, "completions", None, 1),
        letter_of(corner, "completions", odd_id, 2),
        letter_of(corner, "quizzes", b"", 3),
    ]

    report = corner.write(DeadLetterArchive(corner.topology), [*letters, letters[0]])

    assert (report.rows, report.repeats) == (4, 1)
    assert corner.rows("SELECT DISTINCT completion_id FROM dead_letters") == [(None,)]

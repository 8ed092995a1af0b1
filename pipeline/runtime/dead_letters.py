"""Dead letters: records that could not be processed, kept whole with place and reason, for redrive."""

from __future__ import annotations

from pipeline.runtime.record import Output, Record
from pipeline.topology.model import Topic
from schemas.codec import codec
from schemas.ids import dead_letter_id, dead_letter_key
from schemas.records import DeadLetter, DeadRecord

REASON_CHARS_MAX = 1000


def dead_letter(record: Record, stage: str, reason: str, attempts: int, now_ms: int) -> DeadLetter:
    """The dead letter of `record`; the same record and stage have the same id each time.

    `reason` is shown to operators and holds no personal data; the record is in the personal part.
    """
    return DeadLetter(
        dead_letter_id=dead_letter_id(record.topic, record.partition, record.offset, stage),
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        stage=stage,
        # A lone surrogate, as in a file name within an error, would make the dead letter unencodable.
        reason=reason[:REASON_CHARS_MAX].encode("utf-8", "backslashreplace").decode(),
        attempts=attempts,
        failed_at=now_ms,
        source_timestamp=record.timestamp_ms,
        redriven_from=None if record.redriven is None else record.redriven.dead_letter_id,
        personal=DeadRecord(key=record.key, value=record.value),
    )


def dead_letter_output(topic: Topic, letter: DeadLetter) -> Output:
    """The record to send to `topic`, the topic of dead letters."""
    return Output(
        topic=topic.name,
        key=dead_letter_key(letter.source_topic, letter.source_partition),
        value=codec("dead_letter").encode(letter),
    )

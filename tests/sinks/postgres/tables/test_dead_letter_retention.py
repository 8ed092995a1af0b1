"""A dead letter's raw record is erased after its retention, its row deleted after a longer one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import psycopg

from pipeline.runtime.backoff import Backoff
from schemas.codec import codec
from sinks.delivery.ended_campaigns import cancel_open
from sinks.maintenance import Maintenance
from sinks.postgres.connect import Connection
from sinks.postgres.retention.enforce import TableRetention
from sinks.postgres.tables import dead_letter_retention
from sinks.postgres.tables.dead_letter_retention import DeadLetterRetention
from sinks.postgres.tables.dead_letters import DeadLetterArchive
from tests.sinks.postgres.tables.test_dead_letters import letter_of
from tests.support.samples import completion, match, number
from tests.support.sinks import Corner, counted

ERASED = "quizstream_dead_letter_payloads_erased_total"
DELETED = "quizstream_dead_letter_rows_deleted_total"


class NoStatuses:
    def merge_waiting(self, connection: Connection, within: timedelta = timedelta.max) -> int:
        return 0

    def count_waiting(self, connection: Connection) -> int:
        return 0


def keep(corner: Corner, offset: int, age: timedelta, value: bytes | None = b"not Avro") -> None:
    failed_at_ms = int((datetime.now(UTC) - age).timestamp() * 1000)
    letter = msgspec.structs.replace(letter_of(corner, "completions", value, offset), failed_at=failed_at_ms)
    corner.write(DeadLetterArchive(corner.topology), [letter])


def enforce(corner: Corner) -> None:
    DeadLetterRetention(corner.topology.dead_letters).enforce(corner.connection)


def offsets(corner: Corner, where: str = "true") -> list[int]:
    rows = corner.rows(f"SELECT source_offset FROM dead_letters WHERE {where} ORDER BY 1")
    return [int(str(offset)) for (offset,) in rows]


def archive(corner: Corner, day: str, completion_id: str) -> None:
    corner.connection.execute("CREATE TABLE IF NOT EXISTS completions_all PARTITION OF completions DEFAULT")
    corner.connection.execute(
        "INSERT INTO completions (day, completion_id, tenant_id, quiz_id, quiz_version, contact_id,"
        " submitted_at, accepted_at, answers) VALUES (%s, %s, 't', 'q', 1, 'c', %s, %s, '{}')",
        [day, completion_id, day, day],
    )


def test_key_and_value_are_erased_after_their_retention(corner: Corner) -> None:
    payload_max = timedelta(hours=corner.topology.dead_letters.payload_retention_h)
    keep(corner, 1, payload_max + timedelta(minutes=1))
    keep(corner, 2, payload_max - timedelta(minutes=1))
    before = counted(ERASED, state="open")

    enforce(corner)

    erased = "key IS NULL AND value IS NULL AND payload_erased_at IS NOT NULL"
    whole = "value = 'not Avro' AND key = 'key' AND payload_erased_at IS NULL"
    assert (offsets(corner, erased), offsets(corner, whole)) == ([1], [2])
    assert counted(ERASED, state="open") == before + 1
    enforce(corner)
    assert counted(ERASED, state="open") == before + 1


def test_a_letter_that_is_read_again_does_not_bring_its_record_back(corner: Corner) -> None:
    keep(corner, 1, timedelta(days=8))
    enforce(corner)
    keep(corner, 1, timedelta(days=8))

    assert offsets(corner, "value IS NULL AND payload_erased_at IS NOT NULL") == [1]


def test_the_erased_letter_still_names_its_completion_and_its_campaign(corner: Corner) -> None:
    one = msgspec.structs.replace(match(3), campaign_id="winter")
    letter = letter_of(corner, "matches", codec("match").encode(one), 4)
    corner.write(DeadLetterArchive(corner.topology), [msgspec.structs.replace(letter, failed_at=0)])

    DeadLetterRetention(corner.topology.dead_letters).erase(corner.connection)

    assert corner.rows("SELECT completion_id::text, campaign_id, value FROM dead_letters") == [
        (one.completion_id, "winter", None)
    ]


def test_rows_are_erased_in_bounded_batches_until_none_is_left(corner: Corner) -> None:
    for offset in range(5):
        keep(corner, offset, timedelta(days=8 + offset))

    retention = DeadLetterRetention(corner.topology.dead_letters, batch_rows=2, batches_max=2)
    retention.enforce(corner.connection)
    assert offsets(corner, "value IS NULL") == [1, 2, 3, 4]  # the oldest first; the rest in the next round
    retention.enforce(corner.connection)
    assert offsets(corner, "value IS NULL") == [0, 1, 2, 3, 4]


def test_a_row_that_another_process_holds_is_left_for_the_next_round(corner: Corner) -> None:
    keep(corner, 1, timedelta(days=8))
    keep(corner, 2, timedelta(days=8))
    with psycopg.connect(corner.database_url) as other:
        other.execute("SELECT FROM dead_letters WHERE source_offset = 1 FOR UPDATE")
        enforce(corner)
        assert offsets(corner, "value IS NULL") == [2]


def test_a_row_is_deleted_after_its_retention(corner: Corner) -> None:
    row_max = timedelta(days=corner.topology.dead_letters.row_retention_days)
    keep(corner, 1, row_max + timedelta(minutes=1))
    keep(corner, 2, row_max - timedelta(minutes=1))
    before = counted(DELETED)

    enforce(corner)

    assert offsets(corner) == [2]
    assert counted(DELETED) == before + 1


def test_the_letter_that_accounts_for_an_archived_completion_stays_as_long_as_that(corner: Corner) -> None:
    """Law 1: accepted = limited + unmatched + matched + dead, by id, over all that the archive holds."""
    value = codec("completion").encode(completion(7))
    keep(corner, 1, timedelta(days=200), value)
    keep(corner, 2, timedelta(days=200), value)
    corner.connection.execute("UPDATE dead_letters SET redriven_at = now() WHERE source_offset = 2")
    archive(corner, str((datetime.now(UTC) - timedelta(days=200)).date()), number(7))

    enforce(corner)
    assert offsets(corner) == [1]  # the other was redriven: its completion has a verdict, or another letter

    corner.connection.execute("TRUNCATE completions")
    enforce(corner)
    assert offsets(corner) == []


def test_the_scan_for_expired_payloads_uses_its_index(corner: Corner) -> None:
    corner.connection.execute("SET enable_seqscan = off")
    plan = corner.rows(
        "EXPLAIN " + dead_letter_retention.QUERIES["erase_payloads"] % {"age": "interval '1 h'", "rows": 5}
    )
    assert "dead_letters_with_payload" in str(plan)


def test_the_maintenance_thread_enforces_both(corner: Corner) -> None:
    keep(corner, 1, timedelta(days=8))
    topology = corner.topology
    maintenance = Maintenance(
        topology.postgres,
        lambda: corner.connection,
        lambda: datetime.now(UTC).date(),
        Backoff(),
        NoStatuses(),
        DeadLetterRetention(topology.dead_letters),
        TableRetention(topology.retention, lambda: datetime.now(UTC).date(), cancel_open),
    )
    maintenance._round()
    assert offsets(corner, "value IS NULL") == [1]

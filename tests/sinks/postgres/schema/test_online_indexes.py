"""An index of the ledger is built while the ledger is in use, and serves the lists of rare states."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sinks.delivery.operator.deliveries import QUERIES
from sinks.postgres.connect import Connection, connect
from sinks.postgres.partitions import EPOCH, Partition, create
from sinks.postgres.schema import online_indexes
from sinks.postgres.schema.migrate import MIGRATIONS, migrate
from tests.support.sinks import until

ROWS = 200_000
KEY_SCAN = re.compile(r"deliveries_\d+_pkey")  # a partition in the order of its key, up to its end
MONTHS = (date(2026, 3, 1), date(2026, 4, 1))
RARE = {"failed": 400, "suppressed": 0, "cancelled": 0, "ambiguous": 9, "dead": 5}
PAGE: dict[str, Any] = {
    "states": None,
    "tenant": None,
    "campaign": None,
    **dict.fromkeys(("since", "until", "why", "redrives_min")),
    "month": None,
    "after_campaign": "",
    "after_contact": "",
    "limit": 51,
}
FILL = """
INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id, campaign_version,
                        completion_id, completion_day, due_at, state)
SELECT %s, 'c' || n %% 10, n, gen_random_uuid(), 'acme', 1, gen_random_uuid(), %s, now(),
       CASE WHEN n <= 5 THEN 'dead' WHEN n <= 14 THEN 'ambiguous' WHEN n %% 500 = 0 THEN 'failed'
            ELSE 'sent' END
FROM generate_series(%s::integer, %s::integer) AS n
"""

# What today's code needs of later migrations to make a partition and to list deliveries.
LATER = """
CREATE FUNCTION isolate_partition(regclass, regclass) RETURNS void LANGUAGE sql RETURN NULL;
ALTER TABLE deliveries ADD COLUMN channel text, ADD COLUMN route text, ADD COLUMN redrives smallint DEFAULT 0
"""


@pytest.fixture
def before(empty_database_url: str, tmp_path: Path) -> str:
    """A ledger of 200,000 rows in two partitions, as it was before the index."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:10]:
        shutil.copy(path, folder)
    migrate(empty_database_url, folder)
    with connect(empty_database_url, "test", statement_timeout_ms=0) as connection:
        connection.execute(LATER)
        for number, month in enumerate(MONTHS):
            create(connection, Partition("deliveries", (month - EPOCH).days))
            half = ROWS // 2
            connection.execute(FILL, [month, month, number * half + 1, (number + 1) * half])
        connection.execute("ANALYZE deliveries")
    return empty_database_url


def plan(connection: Connection, **of: Any) -> str:
    rows = connection.execute(
        "EXPLAIN " + QUERIES["list_deliveries"],
        {**PAGE, **of},
    ).fetchall()
    return "\n".join(str(line) for (line,) in rows)


def test_the_index_is_built_beside_writers_and_lists_of_rare_states_read_no_whole_partition(
    before: str, tmp_path: Path
) -> None:
    shutil.copy(next(MIGRATIONS.glob("0011_*.sql")), tmp_path / "migrations")
    with connect(before, "test") as connection, connect(before, "reader") as reader:
        lines = plan(connection, states=["dead"])
        assert "Seq Scan" in lines or KEY_SCAN.search(lines) is not None
        reader.execute("SET idle_in_transaction_session_timeout = 0")
        with ThreadPoolExecutor(1) as pool, reader.transaction():
            # The build waits for this snapshot; writers do not wait for the build.
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM deliveries WHERE contact_id = '1'")
            migrated = pool.submit(migrate, before, tmp_path / "migrations")
            building = (
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'"
                " AND wait_event_type = 'Lock' AND datname = current_database()"
            )
            until(
                lambda: migrated.done() or connection.execute(building).fetchone() == (True,),
                "the build waits",
            )
            connection.execute("SET lock_timeout = '20s'")
            connection.execute("UPDATE deliveries SET state = 'dead' WHERE contact_id = '100000'")
            assert not migrated.done()
        assert migrated.result(120)

        valid = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text LIKE %s"
        assert connection.execute(valid, ["deliveries%_unsent"]).fetchone() == (3,)
        for states in ([each] for each in RARE):
            lines = plan(connection, states=states)
            assert "Seq Scan" not in lines
            assert KEY_SCAN.search(lines) is None
        for more in ({}, {"tenant": "acme"}, {"campaign": "c1"}, {"month": MONTHS[0], "after_contact": "9"}):
            lines = plan(connection, states=["ambiguous", "dead"], **more)
            assert "Seq Scan" not in lines, lines
            assert KEY_SCAN.search(lines) is None, lines
        listed = connection.execute(QUERIES["list_deliveries"], {**PAGE, "states": ["dead"]}).fetchall()
        assert len(listed) == RARE["dead"] + 1


def test_a_build_that_was_broken_off_is_done_again_and_new_partitions_have_the_index(
    database_url: str,
) -> None:
    with connect(database_url, "test", statement_timeout_ms=0) as connection:
        create(connection, Partition("deliveries", (MONTHS[0] - EPOCH).days))
        connection.execute("CREATE INDEX deliveries_test ON ONLY deliveries (attempts) WHERE attempts > 3")
        connection.execute(
            "CREATE INDEX deliveries_202603_test ON deliveries_202603 (attempts) WHERE attempts > 3"
        )
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'deliveries_202603_test'::regclass"
        )
        parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'deliveries'::regclass"
        assert connection.execute(parts).fetchone() == (online_indexes.build(connection),)
        assert online_indexes.build(connection) == 0
        create(connection, Partition("deliveries", (MONTHS[1] - EPOCH).days))
        invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        assert connection.execute(invalid).fetchone() == (0,)
        assert online_indexes.build(connection) == 0


def test_who_waits_for_another_process_to_build_says_so_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database_url, "other") as other, connect(database_url, "test") as connection:
        other.execute("SELECT pg_advisory_lock(%s)", [online_indexes.LOCK_ID])
        polls: list[float] = []

        def sleep(seconds: float) -> None:
            polls.append(seconds)
            if len(polls) == 3:
                other.execute("SELECT pg_advisory_unlock(%s)", [online_indexes.LOCK_ID])

        with caplog.at_level("INFO"):
            online_indexes.build(connection, sleep)
    assert len(polls) == 3
    assert caplog.text.count("another process") == 1

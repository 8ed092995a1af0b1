from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from ops.audit import explain
from sinks.postgres.connect import connect
from sinks.postgres.queries import load_queries
from sinks.postgres.schema import back_fill, online_indexes
from sinks.postgres.schema.dump import SCHEMA_FILE, dump_schema
from sinks.postgres.schema.migrate import (
    MIGRATIONS,
    CannotMigrate,
    Migration,
    applied,
    migrate,
    migrations,
    pending,
    require_current,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The migrations, and one more."""
    copy = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    following = f"{len(migrations()) + 1:04d}_colours.sql"
    (copy / following).write_text("CREATE TABLE colours (name text PRIMARY KEY);")
    return copy


def test_schema_file_shows_what_all_migrations_make(database_url: str) -> None:
    dumped = dump_schema(database_url)
    if os.environ.get("QUIZSTREAM_WRITE_SCHEMA"):  # `make schema`
        SCHEMA_FILE.write_text(dumped, encoding="utf-8")
    assert dumped == SCHEMA_FILE.read_text(encoding="utf-8"), "run `make schema`"


def test_each_migration_is_applied_once(empty_database_url: str, directory: Path) -> None:
    assert migrate(empty_database_url) == migrations()
    assert [migration.name for migration in migrate(empty_database_url, directory)] == ["colours"]
    assert migrate(empty_database_url, directory) == []
    assert [migration.version for migration in applied(empty_database_url)] == [
        migration.version for migration in migrations(directory)
    ]


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(empty_database_url), range(4)))

    assert sorted(map(len, done)) == [0, 0, 0, len(migrations())]


def copy_of_first(count: int, to: Path) -> Path:
    to.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:count]:
        shutil.copy(path, to)
    return to


def test_a_migration_waits_for_no_lock_longer_than_its_limit(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0013 sets no limit of its own."""
    monkeypatch.setattr("sinks.postgres.schema.migrate.LOCK_TIMEOUT_MS", 50)
    migrate(empty_database_url, copy_of_first(12, tmp_path / "before"))
    with connect(empty_database_url, "sender") as sender, sender.transaction():
        sender.execute("SELECT * FROM sender_numbers")
        with pytest.raises(CannotMigrate, match=r"0013_paused_numbers.*lock timeout"):
            migrate(empty_database_url)
    assert migrate(empty_database_url)[0].version == 13


def test_an_index_that_cannot_be_built_is_named_as_the_reason(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_connection: object) -> int:
        raise psycopg.errors.DiskFull("no space left")

    monkeypatch.setattr(online_indexes, "build", refused)
    with pytest.raises(CannotMigrate, match=r"building indexes.*no space left"):
        migrate(empty_database_url)


# Landed before the rule, and landed files stay. 0010 builds with writers waiting (docs/operations.md).
BEFORE_THE_RULE = {10: "no index", 13: "lock_timeout", 15: "lock_timeout"}


@pytest.mark.parametrize("migration", migrations()[9:], ids=lambda migration: migration.name)
def test_a_migration_makes_no_writer_wait(migration: Migration) -> None:
    text = re.sub(r"--.*", "", migration.text)
    made = set(re.findall(r"CREATE TABLE (\w+)", text))
    changing = r"(?:ALTER TABLE|CREATE (?:UNIQUE )?INDEX \w+ ON(?: ONLY)?) (\w+)"
    altered = set(re.findall(changing, text)) - made
    built = set(re.findall(r"CREATE (?:UNIQUE )?INDEX \w+ ON (?!ONLY)(\w+)", text)) - made
    known = BEFORE_THE_RULE.get(migration.version, "")
    if known != "no index":
        assert not built, "CREATE INDEX ... ON ONLY, which online_indexes completes"
    if not known and (altered or re.search(r"^DROP|^TRUNCATE|^UPDATE|^LOCK", text, re.MULTILINE)):
        assert "SET LOCAL lock_timeout" in text


def test_an_absent_database_is_made(empty_database_url: str) -> None:
    absent = empty_database_url + "_absent"
    try:
        assert migrate(absent) == migrations()
    finally:
        with connect(empty_database_url, "test") as connection:
            connection.execute(f"DROP DATABASE {absent.rpartition('/')[2]} WITH (FORCE)")


def test_a_file_that_changed_after_it_was_applied_is_refused(
    empty_database_url: str, directory: Path
) -> None:
    migrate(empty_database_url, directory)
    first = next(iter(sorted(directory.glob("*.sql"))))
    first.write_text(first.read_text() + "\n-- a thought of later\n")

    with pytest.raises(CannotMigrate, match="0001_initial was changed after it was applied"):
        migrate(empty_database_url, directory)


def test_a_database_of_newer_code_is_refused(empty_database_url: str, directory: Path) -> None:
    migrate(empty_database_url, directory)

    with pytest.raises(CannotMigrate, match="colours, which this code does not have: run newer code"):
        migrate(empty_database_url)


def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database_url: str, directory: Path) -> None:
    last = max(directory.glob("*.sql"))
    last.write_text("CREATE TABLE colours (name text);\nSELECT 1 FROM nowhere;")

    with pytest.raises(CannotMigrate, match='colours: relation "nowhere" does not exist'):
        migrate(empty_database_url, directory)

    assert len(applied(empty_database_url)) == len(migrations())
    with connect(empty_database_url, "test") as connection:
        assert connection.execute("SELECT to_regclass('colours')").fetchone() == (None,)


def test_a_process_does_not_start_on_an_older_schema(empty_database_url: str, database_url: str) -> None:
    with connect(database_url, "test") as connection:
        require_current(connection)
    with (
        connect(empty_database_url, "test") as connection,
        pytest.raises(CannotMigrate, match="lacks migration 0001_initial: run `python -m"),
    ):
        require_current(connection)


def test_a_server_that_is_not_there_is_told_in_one_line_without_the_password() -> None:
    with pytest.raises(CannotMigrate, match=r"^cannot reach the database: [^\n]*$") as caught:
        migrate("postgresql://somebody:secret@127.0.0.1:1/quizstream")

    assert "secret" not in str(caught.value)


def test_the_fifth_migration_runs_on_a_database_in_use_and_keeps_what_attempts_said(
    empty_database_url: str, tmp_path: Path
) -> None:
    """Given attempts with integer codes, and open connections: no row is rewritten, none is lost."""
    before = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, before)
    for path in before.glob("*.sql"):
        if path.name >= "0005":
            path.unlink()
    migrate(empty_database_url, before)
    with connect(empty_database_url, "test") as writer, connect(empty_database_url, "test") as reader:
        writer.execute(
            "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, outcome, code)"
            " VALUES (gen_random_uuid(), gen_random_uuid(), '5511', 1, 'rejected', 131026)"
        )
        file_node = "SELECT pg_relation_filenode('delivery_attempts')"
        unchanged = reader.execute(file_node).fetchone()

        migrate(empty_database_url)

        assert reader.execute(file_node).fetchone() == unchanged
        explained = load_queries(Path(explain.__file__).with_name("explain.sql"))["attempts_of"]
        with reader.cursor(row_factory=dict_row) as cursor:
            ids = [row["delivery_id"] for row in cursor.execute("SELECT delivery_id FROM delivery_attempts")]
            (attempt,) = cursor.execute(explained, {"ids": ids})
        assert (attempt["provider"], attempt["code"], attempt["action"]) == ("meta-cloud", "131026", None)


AUDITED = "INSERT INTO audit_log (actor, action, subject, detail) VALUES ('ana', %s, %s, %s::jsonb)"


@pytest.mark.parametrize("first", ["outbox", "audit_log"])
def test_a_change_under_way_ends_beside_the_migrations_of_the_tenant_api(
    empty_database_url: str, tmp_path: Path, first: str
) -> None:
    """It has written to one of two tables, and writes to the other while a migration waits: no deadlock."""
    migrate(empty_database_url, copy_of_first(28, tmp_path / "before"))
    event = "INSERT INTO outbox (topic, key) VALUES ('quizzes', 'q')"
    entry = "INSERT INTO audit_log (actor, action, subject) VALUES ('ana', 'quiz.add', 'q')"
    order = [event, entry] if first == "outbox" else [entry, event]
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND database = "
    waiting += "(SELECT oid FROM pg_database WHERE datname = current_database())"
    with ThreadPoolExecutor(1) as pool, connect(empty_database_url, "writer") as writer:
        with writer.transaction():
            writer.execute(order[0])
            done = pool.submit(migrate, empty_database_url)
            while not done.done() and writer.execute(waiting).fetchone() is None:
                pass
            writer.execute(order[1])
        assert done.result()[-1].version == migrations()[-1].version


def test_entries_of_before_get_their_tenant_in_batches_and_after_an_interruption(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(back_fill, "BATCH_MAX", 2)
    migrate(empty_database_url, copy_of_first(28, tmp_path / "before"))
    with connect(empty_database_url, "test") as connection:
        for number in range(4):
            connection.execute(AUDITED, ["quiz.add", f"q{number}", '{"tenant": "acme"}'])
        connection.execute(AUDITED, ["tenant.add", "umbrella", "{}"])
        connection.execute(AUDITED, ["sending.stop", "global", "{}"])
        broken = dict(back_fill.QUERIES) | {"last_entry": "SELECT 1 / 0"}
        with monkeypatch.context() as patch:
            patch.setattr(back_fill, "QUERIES", broken)
            with pytest.raises(CannotMigrate, match="division by zero"):
                migrate(empty_database_url)
        assert connection.execute("SELECT count(tenant_id) FROM audit_log").fetchone() == (0,)
        migrate(empty_database_url)
        filled = connection.execute("SELECT tenant_id FROM audit_log ORDER BY audit_id").fetchall()
        assert [tenant for (tenant,) in filled] == [*["acme"] * 4, "umbrella", None]
        assert back_fill.fill(connection) == 0
        connection.execute("UPDATE audit_log SET tenant_id = NULL")
        migrate(empty_database_url)  # not read again at each start
        assert connection.execute("SELECT count(tenant_id) FROM audit_log").fetchone() == (0,)


def test_a_gap_in_the_numbers_is_refused(directory: Path) -> None:
    (directory / "0099_far.sql").write_text("SELECT 1")

    with pytest.raises(CannotMigrate, match="missing or defined twice"):
        migrations(directory)


def test_pending_are_those_after_the_last_applied() -> None:
    one, two = Migration(1, "one", "a", ""), Migration(2, "two", "b", "")

    assert pending([one, two], [one]) == [two]
    assert pending([one, two], [one, two]) == []

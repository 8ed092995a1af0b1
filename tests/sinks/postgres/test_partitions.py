from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.postgres.connect import connect
from sinks.postgres.partitions import (
    DAYS_MAX,
    EPOCH,
    Bounds,
    OutOfBounds,
    Partition,
    Partitions,
    Ready,
    create,
    create_ahead,
    extent,
    is_missing_partition,
    partition_name,
)

TODAY = date(2027, 1, 15)
DAY = (TODAY - EPOCH).days
BOUNDS = Bounds(past_days_max=400, future_days_max=7)
INSERT = (
    "INSERT INTO outcomes (day, completion_id, tenant_id, quiz_id, contact_id, accepted_at, verdict)"
    " VALUES (%s, gen_random_uuid(), 't', 'q', 'c', now(), %s)"
)


def ready_days(database_url: str, table: str, days: list[int]) -> list[bool]:
    partitions = Partitions(BOUNDS, lambda: TODAY)
    with connect(database_url, "test") as connection:
        found = [partitions.ensure(connection, Partition(table, day)) for day in days]
    return [isinstance(each, Ready) for each in found]


@given(st.sampled_from(["completions", "deliveries"]), st.integers(0, DAYS_MAX))
def test_a_day_lies_in_its_partition_and_in_no_other(table: str, day: int) -> None:
    first, end = extent(Partition(table, day))
    before = Partition(table, (first - EPOCH).days - 1)

    assert first <= EPOCH + (date.fromordinal(day + 1) - date.fromordinal(1)) < end
    if before.day >= 0:
        assert extent(before)[1] == first
        assert partition_name(before) != partition_name(Partition(table, day))


def test_partitions_are_made_within_bounds_only(database_url: str) -> None:
    days = [DAY, DAY + 7, DAY + 8, DAY + 60 * 365, DAY - 399, DAY - 401, -1, 2**31 - 1, -(2**31)]

    assert ready_days(database_url, "completions", days) == [True, True, *[False] * 2, True, *[False] * 4]


def test_a_month_out_of_bounds_that_is_there_already_is_accepted(database_url: str) -> None:
    """A campaign may live longer than partitions are made for."""
    old = DAY - 800
    assert ready_days(database_url, "deliveries", [old]) == [False]
    with connect(database_url, "test") as connection:
        assert create(connection, Partition("deliveries", old))

    assert ready_days(database_url, "deliveries", [old]) == [True]


def test_processes_that_meet_one_new_day_make_it_once(database_url: str) -> None:
    def make(_: int) -> bool:
        with connect(database_url, "test") as connection:
            return create(connection, Partition("completions", DAY))

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(make, range(6)))

    assert sorted(made) == [False] * 5 + [True]


def test_a_partition_is_made_beside_an_open_write_and_an_open_read(database_url: str) -> None:
    with (
        connect(database_url, "writer") as writer,
        connect(database_url, "reader") as reader,
        connect(database_url, "maker") as maker,
    ):
        create(maker, Partition("outcomes", DAY))
        with writer.transaction(), reader.transaction():
            writer.execute(INSERT, [TODAY, "limited"])
            reader.execute("SELECT count(*) FROM outcomes")

            assert create(maker, Partition("outcomes", DAY + 1))
            writer.execute(INSERT, [EPOCH.fromordinal(TODAY.toordinal() + 1), "limited"])


def test_what_is_made_ahead_spans_a_turn_of_the_year(database_url: str) -> None:
    with connect(database_url, "test") as connection:
        made = create_ahead(connection, date(2026, 12, 30), days_ahead=3, months_ahead=2)
        again = create_ahead(connection, date(2026, 12, 30), days_ahead=3, months_ahead=2)

    days = ["20261229", "20261230", "20261231", "20270101", "20270102"]
    assert made[:5] == [f"completions_{day}" for day in days]
    assert made[-3:] == ["deliveries_202612", "deliveries_202701", "deliveries_202702"]
    assert again == []


def test_a_new_partition_has_the_indexes_and_checks_of_its_table(database_url: str) -> None:
    with connect(database_url, "test") as connection:
        create(connection, Partition("deliveries", DAY))
        both = [
            connection.execute("SELECT count(*) FROM pg_indexes WHERE tablename = %s", [table]).fetchone()
            for table in ("deliveries", "deliveries_202701")
        ]

    assert both[0] == both[1] != (0,)


def test_a_missing_partition_is_told_from_a_bad_value(database_url: str) -> None:
    with connect(database_url, "test") as connection:
        create(connection, Partition("outcomes", DAY))
        with pytest.raises(psycopg.errors.CheckViolation) as missing:
            connection.execute(INSERT, [date(2030, 1, 1), "limited"])
        with pytest.raises(psycopg.errors.CheckViolation) as bad:
            connection.execute(INSERT, [TODAY, "perhaps"])

    assert (is_missing_partition(missing.value), is_missing_partition(bad.value)) == (True, False)


def test_the_reason_names_the_day_and_the_bound(database_url: str) -> None:
    with connect(database_url, "test") as connection:
        found = Partitions(BOUNDS, lambda: TODAY).ensure(connection, Partition("completions", DAY + 9))

    assert found == OutOfBounds("2027-01-24 lies more than 7 days ahead")

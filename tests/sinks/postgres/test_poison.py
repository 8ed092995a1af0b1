"""Which errors of the server are an event's fault, which pass, and which end the process."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from sinks.postgres.poison import is_passing, is_poison

PASSING = {
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "58000": "system error",
    "58030": "input or output failed",
    "57P01": "the server stops",
    "57P02": "the server crashed",
    "57P03": "the server starts",
    "57014": "the statement took too long",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "a lock could not be had",
    "25006": "read-only, as a standby is",
    "08006": "connection lost",
    "XX000": "a file may not grow",
    "25P03": "this process slept in a transaction",
}
POISON = {
    "22001": "too long",
    "22P05": "untranslatable",
    "23502": "null",
    "23514": "check",
    "54000": "too large",
}
ENDING = {"42501": "no right", "42P01": "no such table", "0A000": "not supported"}


def error_of(sqlstate: str) -> psycopg.Error:
    return errors.lookup(sqlstate)("from the server")


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_bad_moment_is_waited_out_and_costs_no_record(sqlstate: str) -> None:
    assert is_passing(error_of(sqlstate))
    assert not is_poison(error_of(sqlstate))


@pytest.mark.parametrize("sqlstate", POISON)
def test_what_can_never_be_stored_is_poison(sqlstate: str) -> None:
    assert is_poison(error_of(sqlstate))
    assert not is_passing(error_of(sqlstate))


@pytest.mark.parametrize("sqlstate", ENDING)
def test_an_error_of_the_program_is_neither(sqlstate: str) -> None:
    assert not is_poison(error_of(sqlstate))
    assert not is_passing(error_of(sqlstate))

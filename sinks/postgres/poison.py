"""Distinguishes poison events from transient errors, and bisects a batch to find the poison events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import psycopg

from sinks.postgres.connect import Connection
from sinks.postgres.partitions import is_missing_partition
from sinks.postgres.sink import Arrival, Refused, Sink, WriteReport

Event = TypeVar("Event")

# The server can never store such a value.
_POISON = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
)
# Transient: a retry may succeed.
_PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    # An internal error of the server, such as a file that may not grow.
    psycopg.errors.InternalError_,
    # This process was suspended, and the server has ended its session.
    psycopg.errors.IdleInTransactionSessionTimeout,
)


def is_poison(error: psycopg.Error) -> bool:
    """Return whether the values cause the error."""
    return isinstance(error, _POISON) and not is_missing_partition(error)


def is_passing(error: psycopg.Error) -> bool:
    """Return whether the same batch may succeed later.

    Transient are a lost connection, a deadlock, a shutdown, a full disk, a missing partition and internal
    errors of the server. An error that is neither poison nor transient is one of the program or of its
    permissions and should end the process.
    """
    return is_missing_partition(error) or (isinstance(error, _PASSING) and not is_poison(error))


def write_without_poison(
    connection: Connection, sink: Sink[Event], arrivals: Sequence[Arrival[Event]]
) -> tuple[WriteReport, list[Refused]]:
    """Write a batch within the caller's transaction; return the records that cannot be written.

    A failing batch is bisected, under savepoints, until each poison event is found: about 2 * log2(batch)
    additional writes for each. Raises every error that no event causes.
    """
    try:
        with connection.transaction():
            return sink.write(connection, arrivals), []
    except psycopg.Error as error:
        if not is_poison(error):
            raise
        if len(arrivals) == 1:
            return WriteReport(0, 0), [Refused(arrivals[0].record, describe(error))]
    middle = len(arrivals) // 2
    first, refused_first = write_without_poison(connection, sink, arrivals[:middle])
    second, refused_second = write_without_poison(connection, sink, arrivals[middle:])
    return first + second, refused_first + refused_second


def describe(error: psycopg.Error) -> str:
    """Return the kind of error and the constraint, without the message, which may quote personal values."""
    place = error.diag.constraint_name or error.diag.column_name
    kind = f"{type(error).__name__} ({error.sqlstate})" if error.sqlstate else type(error).__name__
    return f"{kind} at {place}" if place else kind

"""Tells a bad event from a bad moment, and finds the bad event in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import psycopg

from sinks.postgres.connect import Connection
from sinks.postgres.partitions import is_missing_partition
from sinks.postgres.sink import Arrival, Refused, Sink, WriteReport

Event = TypeVar("Event")

# The server can never store this, however often it is asked.
_POISON = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
)
# Another moment, or another server, may be better.
_PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    # What the server cannot name is its own trouble: a file that may not grow any more, for one.
    psycopg.errors.InternalError_,
    # This process slept; the server has ended the session.
    psycopg.errors.IdleInTransactionSessionTimeout,
)


def is_poison(error: psycopg.Error) -> bool:
    """Whether the values themselves are at fault."""
    return isinstance(error, _POISON) and not is_missing_partition(error)


def is_passing(error: psycopg.Error) -> bool:
    """Whether the same batch may succeed later: connection lost, deadlock, shutdown, disk full, no partition,
    an internal error of the server.

    Neither poison nor passing: an error of the program or of its rights, which should end the process.
    """
    return is_missing_partition(error) or (isinstance(error, _PASSING) and not is_poison(error))


def write_without_poison(
    connection: Connection, sink: Sink[Event], arrivals: Sequence[Arrival[Event]]
) -> tuple[WriteReport, list[Refused]]:
    """Writes what can be written, within the caller's transaction, and says which records cannot.

    A batch that fails is halved, under savepoints, until each bad event stands alone: about
    2 * log2(batch) more writes for each. Raises every error that is not the fault of an event.
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
    """Kind of error and constraint. Not the server's message: it quotes values, which may be personal."""
    place = error.diag.constraint_name or error.diag.column_name
    kind = f"{type(error).__name__} ({error.sqlstate})" if error.sqlstate else type(error).__name__
    return f"{kind} at {place}" if place else kind

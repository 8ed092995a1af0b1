"""How far the sender is behind: deliveries that are due, and the reasons why none is sent."""

from __future__ import annotations

import msgspec
import psycopg

from sinks.delivery.holds import DATABASE_UNAVAILABLE, read_due, read_holds
from sinks.postgres.connect import connect

STATEMENT_TIMEOUT_MS = 5_000


class SendingLag(msgspec.Struct, frozen=True):
    """The sender's row beside those of the topics' readers; None: not known within the time-out.

    `seconds`: for how long the oldest delivery has been due. `held`: why nothing is sent, empty while it is.
    """

    records: int | None
    seconds: float | None
    held: list[str]
    reader: str = "whatsapp-sender"
    kind: str = "sender"
    group: str = ""
    topic: str = "deliveries"
    partitions_behind: int = 0


def measure_sending(database_url: str) -> SendingLag:
    """Raises for a URL that is none; a database that does not answer is part of the result."""
    try:
        with connect(database_url, "lag", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
            held = [str(hold) for hold in read_holds(connection)]
            try:
                due = read_due(connection)
            except psycopg.errors.QueryCanceled:  # slow, not unavailable
                return SendingLag(None, None, held)
    except psycopg.OperationalError:
        return SendingLag(None, None, [str(DATABASE_UNAVAILABLE)])
    return SendingLag(due.found, round(due.age_s, 3), held)

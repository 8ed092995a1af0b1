"""One connection of one thread, opened when it is first needed, and again after it was closed."""

from __future__ import annotations

from collections.abc import Callable

from sinks.postgres.connect import Connection


class KeptConnection:
    """Only where a transaction is all that the connection holds: a session's locks end with it, unnoticed."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def __call__(self) -> Connection:
        """Raises what `connect` raises."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

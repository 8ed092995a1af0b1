"""Retention of dead letters: the raw record is erased first, its row deleted later."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pipeline.topology.file import DeadLetters
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("dead_letter_retention.sql"))
BATCH_ROWS = 500  # of one transaction
BATCHES_MAX = 20  # of one call for each of both steps, so that other maintenance is not kept waiting


class DeadLetterRetention:
    """May run in several processes at once: a row that another one holds is left for the next call."""

    def __init__(
        self, limits: DeadLetters, *, batch_rows: int = BATCH_ROWS, batches_max: int = BATCHES_MAX
    ) -> None:
        self._payload_age_max = timedelta(hours=limits.payload_retention_h)
        self._row_age_max = timedelta(days=limits.row_retention_days)
        self._batch_rows = batch_rows
        self._batches_max = batches_max

    def enforce(self, connection: Connection) -> bool:
        """Erases and deletes what is due, the oldest first, at most `batches_max` batches of each.

        Returns whether there may be more. Call it outside of any transaction. Raises psycopg.Error.
        """
        erased, deleted = self.erase(connection), self.delete(connection)
        return not (erased and deleted)

    def erase(self, connection: Connection) -> bool:
        """Sets key and value to null; ids, place and reason stay. Returns whether all is done."""
        parameters = {"age": self._payload_age_max, "rows": self._batch_rows}
        for _ in range(self._batches_max):
            states = connection.execute(QUERIES["erase_payloads"], parameters).fetchall()
            for (state,) in states:
                metrics.DEAD_LETTER_PAYLOADS_ERASED.labels(str(state)).inc()
            if len(states) < self._batch_rows:
                return True
        return False

    def delete(self, connection: Connection) -> bool:
        """Deletes rows, except those that account for an archived completion. Returns as `erase`."""
        parameters = {"age": self._row_age_max, "rows": self._batch_rows}
        for _ in range(self._batches_max):
            rows = connection.execute(QUERIES["delete_rows"], parameters).rowcount
            metrics.DEAD_LETTER_ROWS_DELETED.inc(rows)
            if rows < self._batch_rows:
                return True
        return False

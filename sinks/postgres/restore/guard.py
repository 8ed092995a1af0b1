"""Prevents sending from a ledger that is older than Kafka: a restored copy, or a standby that lagged.

- The outbox publisher is the only writer of delivery events. Events beyond the offset in the tables are newer
  than the tables, or were published just before a crash. They are read before anything else is published.
- If they are newer, or if Kafka has a newer offset of a sink than the tables, sending is stopped
  (`sending_stops`, scope 'recovery') until the sinks have reached the ends of the topics. Then the history is
  applied to the ledger.
- Sending needs a permit, which the leader renews. A permit is valid only for the server and the tables for
  which it was granted, so a restored copy never has one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.runtime.topic_offsets import TopicOffsets
from pipeline.runtime.topic_reader import TopicReader
from pipeline.topology.model import Sink, Topology
from sinks.delivery.events import EVENTS_ROLE
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.postgres.restore import history
from sinks.postgres.restore.catalogue import restore_catalogue

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("restore.sql"))
CLIENT_ID = "quizstream-restore-guard"
REQUEST_TIMEOUT_S = 4.0  # of Kafka: far below PERMIT_S
PERMIT_S = 15.0  # a leader that died is replaced within its session's end and a restart
RENEW_EVERY_S = 2.0
REASON = "the ledger was restored from an older copy: waiting until it has caught up"


class _Offset(NamedTuple):
    partition: int
    next_offset: int


class RestoreGuard:
    """Used by the leading publisher, on its connection. `clock` is monotonic, in seconds."""

    def __init__(
        self, topology: Topology, bootstrap: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topology = topology
        self._topic = topology.topic(EVENTS_ROLE)
        self._bootstrap = bootstrap
        self._clock = clock
        self._renewed_at = float("-inf")
        self._recovering = False

    def verify(self, connection: Connection) -> None:
        """Read the history; call it after winning the lead, before anything is published.

        Returns with sending stopped if the tables are older than the history. Raises KafkaException and
        psycopg.Error; then no permit is granted.
        """
        self._renewed_at = float("-inf")
        newer = self._read_history(connection)
        behind = [sink.name for sink in self._topology.sinks.values() if self._is_behind(connection, sink)]
        self._recovering = connection.execute(QUERIES["is_recovering"]).fetchone() == (True,)
        if not (newer or behind or self._recovering):
            return
        self._recovering = True
        LOG.warning(
            "the tables are older than the topics (%d newer events; lagging sinks: %s): sending stops",
            newer,
            ", ".join(behind) or "none",
        )
        with connection.transaction():
            connection.execute(QUERIES["withdraw_permit"])
            connection.execute(QUERIES["shut_out_marks"])
            connection.execute(QUERIES["begin_recovery"], [REASON])
        restored = restore_catalogue(connection, self._topology, self._bootstrap)
        self._set_targets(connection)
        LOG.warning("recovery: %d records of reference data were newer than the catalogue", restored)

    def published(self, connection: Connection, ranges: Mapping[int, tuple[int, int]]) -> bool:
        """Within the transaction that takes events out of the outbox; `ranges` by partition.

        False where somebody else has written in between: verify again before going on.
        """
        moved = [
            connection.execute(QUERIES["move_position"], [after, self._topic.name, partition, first]).rowcount
            for partition, (first, after) in sorted(ranges.items())
        ]
        return all(moved)

    def renew(self, connection: Connection) -> None:
        """Renew the permit, or end a recovery that has caught up; call it often while leading."""
        if self._clock() - self._renewed_at < RENEW_EVERY_S:
            return
        self._renewed_at = self._clock()
        if self._recovering and not self._ended(connection):
            metrics.RECOVERING.set(1)
            return
        metrics.RECOVERING.set(0)
        connection.execute(QUERIES["renew_permit"], [PERMIT_S])

    def _read_history(self, connection: Connection) -> int:
        newer = 0
        positions = _offsets(connection, "read_positions", self._topic.name)
        with TopicReader(self._bootstrap, self._topic.name, CLIENT_ID, REQUEST_TIMEOUT_S) as log:
            bounds = log.bounds(self._topic.partitions)
            starts = {p: min(max(positions.get(p, 0), each.first), each.end) for p, each in bounds.items()}
            ends = {partition: each.end for partition, each in bounds.items()}
            for partition, start in starts.items():
                self._set_position(connection, partition, start)
            for batch in log.read(starts, ends):
                with connection.transaction():
                    found = history.keep(connection, batch.records)
                    if found:
                        connection.execute(QUERIES["withdraw_permit"])
                        connection.execute(QUERIES["begin_recovery"], [REASON])
                    # With what was found, or after a crash here it would be passed unread.
                    self._set_position(connection, batch.partition, batch.next_offset)
                newer += found
        return newer

    def _set_position(self, connection: Connection, partition: int, offset: int) -> None:
        connection.execute(QUERIES["set_position"], [self._topic.name, partition, offset])

    def _is_behind(self, connection: Connection, sink: Sink) -> bool:
        """Return whether Kafka has a newer offset of this sink than its tables."""
        # Kafka first: the sinks run meanwhile, and move their tables before they commit to Kafka.
        committed = self._committed(sink)
        kept = self._kept(connection, sink)
        return any(offset > kept[p] for p, offset in committed.items() if p in kept)

    def _kept(self, connection: Connection, sink: Sink) -> dict[int, int]:
        return _offsets(connection, "sink_positions", sink.name, sink.source.name)

    def _committed(self, sink: Sink) -> dict[int, int]:
        topic = sink.source
        with TopicOffsets(self._bootstrap, REQUEST_TIMEOUT_S) as offsets:
            return offsets.committed(sink.group, {topic.name: topic.partitions}).get(topic.name, {})

    def _set_targets(self, connection: Connection) -> None:
        # What a sink makes of the ledger's own events is no part of the ledger: sending need not wait for it.
        sinks = [sink for sink in self._topology.sinks.values() if sink.source.name != self._topic.name]
        with TopicOffsets(self._bootstrap, REQUEST_TIMEOUT_S) as offsets:
            ends = offsets.ends({sink.source.name: sink.source.partitions for sink in sinks})
        for sink in sinks:
            for partition, end in ends[sink.source.name].items():
                if end > 0:
                    connection.execute(QUERIES["set_target"], [sink.name, sink.source.name, partition, end])

    def _ended(self, connection: Connection) -> bool:
        left = connection.execute(QUERIES["targets_left"]).fetchone()
        if left != (0,):
            return False
        with connection.transaction():
            connection.execute(QUERIES["shut_out_marks"])
            changed = history.apply(connection)
            connection.execute(QUERIES["forget_targets"])
            connection.execute(QUERIES["end_recovery"])
        unplaced = history.unplaced(connection)
        metrics.UNPLACED.set(unplaced)
        LOG.warning(
            "recovery ended: %d deliveries corrected, %d without a row; sending is permitted again",
            changed,
            unplaced,
        )
        self._recovering = False
        return True


def _offsets(connection: Connection, query: str, *parameters: str) -> dict[int, int]:
    rows = fetch(connection, QUERIES[query], _Offset, parameters)
    return {row.partition: row.next_offset for row in rows}

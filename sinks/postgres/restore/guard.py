"""Lets nobody send from a ledger that is older than what Kafka knows: a restored copy, a standby that lagged.

The publisher of the outbox is the only writer of delivery events, so whoever leads it can tell: what lies in
that topic beyond the position kept in the tables is newer than the tables, or was published in the moment of
a crash. It is read before anything else is published. Where it is newer, or where Kafka has seen the sinks
further than the tables say, sending is held (`sending_stops`, scope 'recovery') until the sinks have read up
to where the topics were, and then the history is put into the ledger. Sending needs a permit, which the
leader renews; a permit counts only in the server and the tables it was granted for, so a restored copy is
held from its first moment.
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
    """Used by the one publisher that leads, with its connection. `clock` is monotonic, in seconds."""

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
        """Call it when the lead was won, before anything is published.

        Returns with the history read and, where the tables are behind it, with sending held. Raises
        KafkaException and psycopg.Error: then nothing is permitted.
        """
        self._renewed_at = float("-inf")
        newer = self._read_history(connection)
        behind = [sink.name for sink in self._topology.sinks.values() if self._is_behind(connection, sink)]
        self._recovering = connection.execute(QUERIES["is_recovering"]).fetchone() == (True,)
        if not (newer or behind or self._recovering):
            return
        self._recovering = True
        LOG.warning(
            "the tables are older than the topics (%d newer events; sinks behind: %s): sending is held",
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
        """Call it often while leading: renews the permit, or ends a recovery that has caught up."""
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
        """Whether Kafka has seen this sink further than its tables say."""
        # Kafka first: the sinks run meanwhile, and move their tables before they tell Kafka.
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
        sources = {sink.source.name: sink.source.partitions for sink in self._topology.sinks.values()}
        with TopicOffsets(self._bootstrap, REQUEST_TIMEOUT_S) as offsets:
            ends = offsets.ends(sources)
        for sink in self._topology.sinks.values():
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
        LOG.warning("recovery ended: %d deliveries put right, %d without a row", changed, unplaced)
        self._recovering = False
        return True


def _offsets(connection: Connection, query: str, *parameters: str) -> dict[int, int]:
    rows = fetch(connection, QUERIES[query], _Offset, parameters)
    return {row.partition: row.next_offset for row in rows}

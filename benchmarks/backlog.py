"""What had been accepted and not yet been done, again and again while the load runs."""

from __future__ import annotations

import threading
import time
from statistics import median

import msgspec

from ops.locate import Deployment
from ops.topics.lag import behind, positions, readers
from pipeline.runtime.topic_offsets import TopicOffsets
from sinks.postgres.connect import Connection, connect

LOOK_EVERY_S = 5.0
DELIVERIES = "whatsapp-sender"
_WAITING = "SELECT count(*) FROM deliveries WHERE state IN ('waiting', 'leased', 'calling')"


class Look(msgspec.Struct, frozen=True):
    """Agent, sink or sender -> records or deliveries before it."""

    at: float
    waiting: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.waiting.values())


class BacklogMeter:
    """Asks the brokers and the ledger."""

    def __init__(self, found: Deployment) -> None:
        self._readers = readers(found.topology)
        self._brokers = TopicOffsets(found.settings.kafka_bootstrap_servers)

    def look(self, connection: Connection) -> Look:
        at = time.time()
        ends = self._brokers.ends({reader.topic: reader.partitions for reader in self._readers})
        # Read after the ends: a backlog is never shown larger than it was.
        committed = positions(self._brokers, self._readers)
        waiting = {
            reader.name: sum(
                records
                for _, records in behind(
                    committed[reader.group].get(reader.topic, {}), {}, ends[reader.topic]
                ).values()
            )
            for reader in self._readers
        }
        row = connection.execute(_WAITING).fetchone()
        waiting[DELIVERIES] = 0 if row is None else int(str(row[0]))
        return Look(at, waiting)


class BacklogWatch:
    """A thread that looks every `LOOK_EVERY_S` until `stop`, which looks once more."""

    def __init__(self, found: Deployment) -> None:
        self._found = found
        self._stop = threading.Event()
        self._looks: list[Look] = []
        self._broken: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="backlog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[Look]:
        self._stop.set()
        self._thread.join()
        if self._broken is not None:
            raise self._broken
        return self._looks

    def _run(self) -> None:
        try:
            meter = BacklogMeter(self._found)
            with connect(self._found.settings.database_url, "bench backlog") as connection:
                while not self._stop.wait(LOOK_EVERY_S):
                    self._looks.append(meter.look(connection))
                self._looks.append(meter.look(connection))
        except Exception as error:
            self._broken = error


def growth_per_s(looks: list[Look]) -> float | None:
    """Growth in records a second, from the median of the first half to the median of the second."""
    if len(looks) < 4:
        return None
    middle = len(looks) // 2
    early, late = looks[:middle], looks[middle:]
    elapsed_s = median(look.at for look in late) - median(look.at for look in early)
    grown = median(look.total for look in late) - median(look.total for look in early)
    return round(grown / elapsed_s, 2)

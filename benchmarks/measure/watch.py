"""What a session of its own sees in PostgreSQL while a load runs: visible rows, and what still waits.

A sink moves its offset in the transaction of its rows (`sink_offsets`). A session that sees the offset behind
a record sees the record's rows too. The time inside a row (`archived_at`) would be early by its commit.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from statistics import median

import msgspec

from ops.locate import Deployment
from ops.topics.lag import behind, positions, readers
from pipeline.runtime.topic_offsets import TopicOffsets
from sinks.postgres.connect import Connection, connect

ARCHIVE, VERDICTS = "completions", "outcomes"  # sinks
OFFSETS_EVERY_S = 0.02  # a time of visibility is late by up to this, never early
BACKLOG_EVERY_S = 5.0
SENDER = "whatsapp-sender"
_OFFSETS = "SELECT sink, partition, next_offset FROM sink_offsets WHERE sink = ANY(%s)"
_WAITING = "SELECT count(*) FROM deliveries WHERE state IN ('waiting', 'leased', 'calling')"


class Offsets:
    """Committed offsets by the time at which they were first seen. Pure; offsets never decrease."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[list[int], list[float]]] = {}

    def saw(self, sink: str, partition: int, next_offset: int, at: float) -> None:
        seen, times = self._seen.setdefault((sink, partition), ([], []))
        if not seen or next_offset > seen[-1]:
            seen.append(next_offset)
            times.append(at)

    def visible_at(self, sink: str, partition: int, offset: int) -> float | None:
        """When a committed offset behind this one was first seen, in seconds since the epoch."""
        seen, times = self._seen.get((sink, partition), ([], []))
        first = bisect_right(seen, offset)
        return times[first] if first < len(times) else None

    def passed_by(self, sink: str, at: float) -> int:
        """How many records the sink had committed by then, all partitions."""
        passed = 0
        for (name, _), (seen, times) in self._seen.items():
            count = bisect_right(times, at)
            if name == sink and count:
                passed += seen[count - 1]
        return passed

    def passed_at(self, sink: str, records: int) -> float:
        """When it had committed so many, seconds since the epoch. Raises ValueError where it has not."""
        times = sorted({at for (name, _), (_, times) in self._seen.items() if name == sink for at in times})
        first = bisect_left(times, records, key=lambda at: self.passed_by(sink, at))
        if first == len(times):
            raise ValueError(f"{sink} has not passed {records}")
        return times[first]

    def drained(self, begin: float, end: float) -> int:
        """Completions whose row and verdict both became visible in that time."""
        return min(self.passed_by(sink, end) - self.passed_by(sink, begin) for sink in (ARCHIVE, VERDICTS))


class Waiting(msgspec.Struct, frozen=True):
    """Records or deliveries before each stage, sink or sender."""

    at: float
    waiting: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.waiting.values())


class _Watch:
    """A thread with a database connection that looks every `every_s`, and once more at `stop`."""

    def __init__(self, url: str, every_s: float, look: Callable[[Connection], None]) -> None:
        self._url, self._every_s, self._look = url, every_s, look
        self._stop = threading.Event()
        self._broken: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Raises what ended the thread early: half a record would be wrong."""
        self._stop.set()
        self._thread.join()
        if self._broken is not None:
            raise self._broken

    def _run(self) -> None:
        try:
            with connect(self._url, "bench watch") as connection:
                while not self._stop.wait(self._every_s):
                    self._look(connection)
                self._look(connection)
        except Exception as error:
            self._broken = error


class OffsetWatch:
    """Begins to watch when it is made."""

    def __init__(self, found: Deployment) -> None:
        self.offsets = Offsets()
        self._watch = _Watch(found.settings.database_url, OFFSETS_EVERY_S, self._look)
        self._watch.start()

    def stop(self) -> Offsets:
        self._watch.stop()
        return self.offsets

    def _look(self, connection: Connection) -> None:
        rows = connection.execute(_OFFSETS, [[ARCHIVE, VERDICTS]], prepare=True).fetchall()
        at = time.time()
        for sink, partition, offset in rows:
            self.offsets.saw(str(sink), int(str(partition)), int(str(offset)), at)


class BacklogWatch:
    """Begins to watch when it is made."""

    def __init__(self, found: Deployment) -> None:
        self._readers = readers(found.topology)
        self._brokers = TopicOffsets(found.settings.kafka_bootstrap_servers)
        self._looks: list[Waiting] = []
        self._watch = _Watch(found.settings.database_url, BACKLOG_EVERY_S, self._look)
        self._watch.start()

    def stop(self) -> list[Waiting]:
        self._watch.stop()
        return self._looks

    def _look(self, connection: Connection) -> None:
        at = time.time()
        ends = self._brokers.ends({reader.topic: reader.partitions for reader in self._readers})
        # Read after the ends: a backlog is never shown larger than it was.
        committed = positions(self._brokers, self._readers)
        waiting = {}
        for reader in self._readers:
            lags = behind(committed[reader.group].get(reader.topic, {}), {}, ends[reader.topic])
            waiting[reader.name] = sum(records for _, records in lags.values())
        row = connection.execute(_WAITING).fetchone()
        waiting[SENDER] = 0 if row is None else int(str(row[0]))
        self._looks.append(Waiting(at, waiting))


def growth_per_s(looks: list[Waiting]) -> float | None:
    """Growth in records a second, from the median of the first half to the median of the second."""
    if len(looks) < 4:
        return None
    middle = len(looks) // 2
    early, late = looks[:middle], looks[middle:]
    elapsed_s = median(look.at for look in late) - median(look.at for look in early)
    grown = median(look.total for look in late) - median(look.total for look in early)
    return round(grown / elapsed_s, 2)

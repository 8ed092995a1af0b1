"""From when on a record's rows could be seen in Postgres by another session: watched, not reckoned.

A sink moves its position in the transaction of its rows (`sink_offsets`). A session of its own that sees the
position behind a record sees the record's rows too. It looks every `LOOK_EVERY_S`, so what it says is late
by up to that, never early; the time inside a row (`archived_at`) would be early by its commit.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable

import psycopg

from sinks.postgres.connect import connect

LOOK_EVERY_S = 0.02
_QUERY = "SELECT sink, partition, next_offset FROM sink_offsets WHERE sink = ANY(%s)"


class Positions:
    """What was seen when; pure. Positions never go back."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[list[int], list[float]]] = {}

    def saw(self, sink: str, partition: int, next_offset: int, at: float) -> None:
        offsets, times = self._seen.setdefault((sink, partition), ([], []))
        if not offsets or next_offset > offsets[-1]:
            offsets.append(next_offset)
            times.append(at)

    def visible_at(self, sink: str, partition: int, offset: int) -> float | None:
        """When a position behind the offset was first seen, in seconds since the epoch."""
        offsets, times = self._seen.get((sink, partition), ([], []))
        first = bisect_right(offsets, offset)
        return times[first] if first < len(times) else None

    def passed_by(self, sink: str, at: float) -> int:
        """How many offsets the sink had passed by then, all partitions."""
        passed = 0
        for (name, _), (offsets, times) in self._seen.items():
            seen = bisect_right(times, at)
            if name == sink and seen:
                passed += offsets[seen - 1]
        return passed


class PositionWatch:
    """A thread with one connection. Raises at `stop` what broke it: half a record would be a lie."""

    def __init__(self, database_url: str, sinks: list[str], clock: Callable[[], float] = time.time) -> None:
        self.positions = Positions()
        self._url = database_url
        self._sinks = sinks
        self._clock = clock
        self._stop = threading.Event()
        self._broken: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="positions", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> Positions:
        self._stop.set()
        self._thread.join()
        if self._broken is not None:
            raise self._broken
        return self.positions

    def _run(self) -> None:
        try:
            with connect(self._url, "bench positions") as connection:
                while not self._stop.is_set():
                    rows = connection.execute(_QUERY, [self._sinks], prepare=True).fetchall()
                    at = self._clock()
                    for sink, partition, offset in rows:
                        self.positions.saw(str(sink), int(str(partition)), int(str(offset)), at)
                    self._stop.wait(LOOK_EVERY_S)
        except psycopg.Error as error:
            self._broken = error

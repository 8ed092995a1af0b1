"""Records on disk which records are being processed, so that one that kills the process is found.

A stage that raises is handled in place; an error that ends the process (a fault in a C library, no memory)
would otherwise repeat without end.

- One small file per partition is written before a chunk is processed, and cleared once it is acked.
- If the file is found at a start, its records are processed one by one.
- A record that was in flight at the third death becomes a dead letter.

The file covers the pure processing only, not the delivery: a kill while the brokers are unreachable does
not count against a record. No fsync: the file must outlive the process, not the machine.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.runtime.record import Record

DEATHS_MAX = 3  # a record that was in flight at so many deaths is not processed again

# In flight now?, first and last suspect, the record processed alone (or none), number of deaths entries.
_HEAD = struct.Struct(">?qqqq")
_DEATHS = struct.Struct(">qq")  # offset, deaths
_NONE = -1
_CLEAR = _HEAD.pack(False, _NONE, _NONE, _NONE, 0)
_FILE_BYTES_MAX = 1 << 20  # far more than a chunk's worth


class Suspects(NamedTuple):
    """Records `first` to `last` were in flight at a death, some of them alone at further deaths."""

    first: int
    last: int
    alone: dict[int, int]  # offset -> deaths in all

    def deaths_of(self, offset: int) -> int:
        """The number of deaths at which the record was in flight."""
        return self.alone.get(offset, 1 if self.first <= offset <= self.last else 0)


class Plan(NamedTuple):
    """How to process a chunk: `units` in order; the records `given_up` are not processed."""

    units: list[list[Record]]
    given_up: list[Record]


class CrashMemory:
    """The file of one stage and partition."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._suspects = self._load()

    def plan(self, records: Sequence[Record]) -> Plan:
        """Split a chunk into units: one, unless some of its records were in flight at a death."""
        suspects = self._suspects
        if suspects is None or records[0].offset > suspects.last or records[-1].offset < suspects.first:
            return Plan([list(records)], [])
        given_up = [r for r in records if suspects.deaths_of(r.offset) >= DEATHS_MAX]
        tried = [r for r in records if suspects.deaths_of(r.offset) < DEATHS_MAX]
        singles = [[r] for r in tried if r.offset <= suspects.last]
        rest = [r for r in tried if r.offset > suspects.last]
        return Plan([*singles, rest] if rest else singles, given_up)

    def units(self, plan: Plan) -> Iterator[list[Record]]:
        """The plan's units, each recorded as in flight while the caller processes it."""
        known = self._suspects
        for unit in plan.units:
            first, last = unit[0].offset, unit[-1].offset
            if known is None or last < known.first:
                self._store(Suspects(first, last, {}), in_flight=True)
            elif first <= known.last:
                self._store(known, in_flight=True, alone=first)
            else:
                # The units before are processed but not acked: they are suspects, too, if this unit dies.
                self._store(Suspects(known.first, last, known.alone), in_flight=True)
            yield unit
        self._store(known, in_flight=False)

    def survived(self, last: int) -> None:
        """Remove suspects up to the offset `last`: their records are done."""
        if self._suspects is not None and last >= self._suspects.last:
            self._suspects = None
            self._store(None, in_flight=False)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _load(self) -> Suspects | None:
        stored = os.pread(self._fd, _FILE_BYTES_MAX, 0)
        if len(stored) < _HEAD.size:
            return None
        in_flight, first, last, tried_alone, count = _HEAD.unpack_from(stored)
        if first == _NONE or len(stored) < _HEAD.size + count * _DEATHS.size:
            return None
        alone = dict(_DEATHS.iter_unpack(stored[_HEAD.size : _HEAD.size + count * _DEATHS.size]))
        found = Suspects(first, last, alone)
        if in_flight and tried_alone != _NONE:
            alone[tried_alone] = found.deaths_of(tried_alone) + 1
        self._store(found, in_flight=False)
        return found

    def _store(self, suspects: Suspects | None, in_flight: bool, alone: int = _NONE) -> None:
        if suspects is None:
            os.pwrite(self._fd, _CLEAR, 0)
            return
        deaths = b"".join(_DEATHS.pack(*pair) for pair in suspects.alone.items())
        head = _HEAD.pack(in_flight, suspects.first, suspects.last, alone, len(suspects.alone))
        os.pwrite(self._fd, head + deaths, 0)

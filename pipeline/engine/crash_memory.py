"""Remembers which records were being processed when the process died, so that the one that kills it is found.

A stage that raises is handled in place; what ends the whole process (a fault in a C library, no memory)
would otherwise come back for ever. One small file a partition is written before a chunk is processed and
cleared once it is acked. Found after a start, its records are processed one by one, and the one that was in
hand at the third death is given up. The file covers the pure processing only, not the delivery: being
killed while the brokers are away says nothing against a record. No fsync: the file must outlive the
process, not the machine.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.runtime.record import Record

DEATHS_MAX = 3  # a record that was in hand at so many deaths is not tried again

# In hand now?, first and last suspect, the one tried alone (or nobody), number of those that died alone.
_HEAD = struct.Struct(">?qqqq")
_DEATHS = struct.Struct(">qq")  # offset, deaths
_NOBODY = -1
_CLEAR = _HEAD.pack(False, _NOBODY, _NOBODY, _NOBODY, 0)
_FILE_BYTES_MAX = 1 << 20  # far more than a chunk's worth


class Suspects(NamedTuple):
    """Records `first` to `last` were in hand at a death, some of them alone at further ones."""

    first: int
    last: int
    alone: dict[int, int]  # offset -> deaths in all

    def deaths_of(self, offset: int) -> int:
        """At how many deaths the record was in hand."""
        return self.alone.get(offset, 1 if self.first <= offset <= self.last else 0)


class Plan(NamedTuple):
    """How to process a chunk: these units, in order, and these records not at all."""

    units: list[list[Record]]
    given_up: list[Record]


class CrashMemory:
    """The file of one stage and partition."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._suspects = self._load()

    def plan(self, records: Sequence[Record]) -> Plan:
        """Split a chunk into units: one, unless some of its records were in hand at a death."""
        suspects = self._suspects
        if suspects is None or records[0].offset > suspects.last or records[-1].offset < suspects.first:
            return Plan([list(records)], [])
        given_up = [r for r in records if suspects.deaths_of(r.offset) >= DEATHS_MAX]
        tried = [r for r in records if suspects.deaths_of(r.offset) < DEATHS_MAX]
        singles = [[r] for r in tried if r.offset <= suspects.last]
        rest = [r for r in tried if r.offset > suspects.last]
        return Plan([*singles, rest] if rest else singles, given_up)

    def units(self, plan: Plan) -> Iterator[list[Record]]:
        """The plan's units, each noted as in hand while the caller has it."""
        known = self._suspects
        for unit in plan.units:
            first, last = unit[0].offset, unit[-1].offset
            if known is None or last < known.first:
                self._store(Suspects(first, last, {}), in_hand=True)
            elif first <= known.last:
                self._store(known, in_hand=True, alone=first)
            else:
                # What lies before is processed, but not acked: should this unit die, it is suspected with it.
                self._store(Suspects(known.first, last, known.alone), in_hand=True)
            yield unit
        self._store(known, in_hand=False)

    def survived(self, last: int) -> None:
        """All up to the offset `last` is done: it is not suspected any more."""
        if self._suspects is not None and last >= self._suspects.last:
            self._suspects = None
            self._store(None, in_hand=False)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _load(self) -> Suspects | None:
        stored = os.pread(self._fd, _FILE_BYTES_MAX, 0)
        if len(stored) < _HEAD.size:
            return None
        in_hand, first, last, tried_alone, count = _HEAD.unpack_from(stored)
        if first == _NOBODY or len(stored) < _HEAD.size + count * _DEATHS.size:
            return None
        alone = dict(_DEATHS.iter_unpack(stored[_HEAD.size : _HEAD.size + count * _DEATHS.size]))
        found = Suspects(first, last, alone)
        if in_hand and tried_alone != _NOBODY:
            alone[tried_alone] = found.deaths_of(tried_alone) + 1
        self._store(found, in_hand=False)
        return found

    def _store(self, suspects: Suspects | None, in_hand: bool, alone: int = _NOBODY) -> None:
        if suspects is None:
            os.pwrite(self._fd, _CLEAR, 0)
            return
        deaths = b"".join(_DEATHS.pack(*pair) for pair in suspects.alone.items())
        head = _HEAD.pack(in_hand, suspects.first, suspects.last, alone, len(suspects.alone))
        os.pwrite(self._fd, head + deaths, 0)

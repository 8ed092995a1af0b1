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

from pipeline.stage import Record

DEATHS_MAX = 3  # a record that was in hand at so many deaths is not tried again

_FORMAT = struct.Struct(
    ">?qqqq"
)  # in hand now, first and last suspect, the one tried alone (or -1), its deaths
_NOBODY = -1
_CLEAR = _FORMAT.pack(False, _NOBODY, _NOBODY, _NOBODY, 0)


class Suspects(NamedTuple):
    """Records `first` to `last` were in hand at a death; `single` alone at `deaths` of them."""

    first: int
    last: int
    single: int = _NOBODY
    deaths: int = 0

    def deaths_of(self, offset: int) -> int:
        """At how many deaths the record was in hand."""
        if offset == self.single:
            return self.deaths
        return 1 if self.first <= offset <= self.last else 0


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

    def _load(self) -> Suspects | None:
        stored = os.pread(self._fd, _FORMAT.size, 0)
        if len(stored) < _FORMAT.size:
            return None
        in_hand, first, last, single, deaths = _FORMAT.unpack(stored)
        if first == _NOBODY:
            return None
        if in_hand and single != _NOBODY:
            deaths += 1
        found = Suspects(first, last, single, deaths)
        self._store(found, in_hand=False)
        return found

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
        suspects = self._suspects
        for unit in plan.units:
            first, last = unit[0].offset, unit[-1].offset
            if suspects is None or first > suspects.last:
                self._store(Suspects(first, last), in_hand=True)
            else:
                deaths = suspects.deaths_of(first)
                self._store(Suspects(suspects.first, suspects.last, first, deaths), in_hand=True)
            yield unit
        self._store(suspects, in_hand=False)

    def survived(self, last: int) -> None:
        """All up to the offset `last` is done: it is not suspected any more."""
        if self._suspects is not None and last >= self._suspects.last:
            self._suspects = None
            self._store(None, in_hand=False)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _store(self, suspects: Suspects | None, in_hand: bool) -> None:
        os.pwrite(self._fd, _CLEAR if suspects is None else _FORMAT.pack(in_hand, *suspects), 0)

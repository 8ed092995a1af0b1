"""Tracks which chunks of each partition are done, and so the offset that may be committed.

Pure: no Faust, no clock, no I/O. Kafka commits one offset per partition, but work is handed out in chunks
that can be in flight when partitions move, and that can have other bounds when they are read again. Two rules
keep a commit from passing an unprocessed record:

1. A chunk is registered when it is *fetched*, before any component can drop it. A chunk that is lost on its
   way to the stage is never done, and so holds the commit back until the partition is read again.
2. Every chunk belongs to one *epoch* of its partition. Whenever a partition's read offset jumps (assignment,
   revocation, seek) a new epoch begins. Chunks read before it are not accepted, and once the partition is
   forgotten or read again, acks of earlier epochs have no effect.

Gaps between chunks (compacted topics, transaction markers) need no bookkeeping: an offset without a record
was never handed out.
"""

from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple, Protocol

import msgspec


class Partition(Protocol):
    """Faust's `TP`, aiokafka's `TopicPartition`, or any hashable pair of the two."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    def __hash__(self) -> int: ...


class ChunkRef(NamedTuple):
    """Identifies one fetched chunk: the offsets of its first and last record, and the epoch of their read."""

    tp: Partition
    epoch: int
    first: int
    last: int


class _Entry(msgspec.Struct):
    ref: ChunkRef
    begun: bool = False
    done: bool = False


class _Pending(msgspec.Struct):
    """The chunks of one partition and epoch, in the order of the log."""

    epoch: int
    entries: deque[_Entry]
    done_to: int | None = None


class ChunkLost(Exception):
    """A stage begins a chunk before an earlier one of its partition: the earlier one was lost on its way."""


class OutOfOrder(Exception):
    """A chunk starts before the end of the one before it, within one epoch: a jump was not recorded."""


class Tracker:
    """Offsets that are safe to commit.

    For one thread, except that `moved` and `epoch` may also be called from the consumer's thread.
    """

    def __init__(self) -> None:
        self._pending: dict[Partition, _Pending] = {}
        self._epochs: dict[Partition, int] = {}
        self._epoch_numbers = count(1)

    def moved(self, tp: Partition) -> None:
        """Begin a new epoch: the partition jumps, or is revoked. Call it *before* the jump.

        Registered chunks still count until the partition is read again or forgotten: they were read without a
        gap from a committed offset, so committing those that are done is safe.
        """
        self._epochs[tp] = next(self._epoch_numbers)

    def epoch(self, tp: Partition) -> int:
        """The current epoch. Read it together with the records, with no jump in between."""
        return self._epochs.get(tp, 0)

    def fetched(self, tp: Partition, epoch: int, first: int, last: int) -> ChunkRef | None:
        """Register a chunk as handed out; `None` when its epoch is over: it must not be processed.

        Raises `OutOfOrder` when chunks overlap within an epoch: a jump was not recorded.
        """
        if epoch != self.epoch(tp):
            return None
        pending = self._pending.get(tp)
        if pending is None or pending.epoch != epoch:
            pending = self._pending[tp] = _Pending(epoch, deque())
        end = pending.entries[-1].ref.last + 1 if pending.entries else pending.done_to
        if first > last or (end is not None and first < end):
            raise OutOfOrder(f"{tp}: chunk {first}-{last} after {end} in epoch {epoch}")
        ref = ChunkRef(tp, epoch, first, last)
        pending.entries.append(_Entry(ref))
        return ref

    def is_current(self, ref: ChunkRef) -> bool:
        """Whether an ack of the chunk would still count."""
        return self._find(ref) is not None

    def begin(self, ref: ChunkRef) -> bool:
        """Mark the chunk as in flight; `False` when its partition was revoked: it must not be processed.

        Raises `ChunkLost`: nothing would be committed until the partition is read again.
        """
        entry = self._find(ref)
        if entry is None or entry.done:
            return False
        for earlier in self._pending[ref.tp].entries:
            if earlier is entry:
                break
            if not earlier.begun:
                raise ChunkLost(f"{ref.tp}: {earlier.ref.first}-{earlier.ref.last} never reached a stage")
        entry.begun = True
        return True

    def done(self, ref: ChunkRef) -> bool:
        """Ack: the chunk's effects are durable. `False` when the ack came too late and has no effect."""
        entry = self._find(ref)
        if entry is None:
            return False
        entry.done = True
        return True

    def in_flight(self) -> list[ChunkRef]:
        """The chunks that a stage has begun and not finished."""
        return [e.ref for p in self._pending.values() for e in p.entries if e.begun and not e.done]

    def committable(self, tp: Partition) -> int | None:
        """The offset to commit: one past the last record up to which all is done; `None` when nothing is."""
        pending = self._pending.get(tp)
        if pending is None:
            return None
        while pending.entries and pending.entries[0].done:
            pending.done_to = pending.entries.popleft().ref.last + 1
        return pending.done_to

    def unacked(self, tp: Partition) -> int:
        """The number of offsets that are handed out and not done (gaps within chunks included)."""
        pending = self._pending.get(tp)
        if pending is None:
            return 0
        return sum(e.ref.last - e.ref.first + 1 for e in pending.entries if not e.done)

    def partitions(self) -> list[Partition]:
        """The partitions of which chunks were handed out."""
        return list(self._pending)

    def forget(self, tps: Iterable[Partition]) -> None:
        """Drop partitions that were revoked: later acks of their chunks are ignored."""
        for tp in tps:
            self.moved(tp)
            self._pending.pop(tp, None)

    def _find(self, ref: ChunkRef) -> _Entry | None:
        pending = self._pending.get(ref.tp)
        if pending is None or pending.epoch != ref.epoch:
            return None
        # A stage takes chunks in order, so the one looked for is nearly always the first.
        for entry in pending.entries:
            if entry.ref == ref:
                return entry
        return None

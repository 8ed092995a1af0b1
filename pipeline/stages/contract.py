"""What a stage is: a pure function over a batch of records of one partition.

A stage never talks to Kafka, never reads a clock and never commits. It is given records and a view of its
own state, and returns what is to be sent and written. `pipeline.engine.stage_runner` makes that durable, in
the only safe order, and is free to call a stage again with the same records.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from pipeline.runtime.record import Output, Poison, Record


class Put(msgspec.Struct, frozen=True):
    """A write to the stage's own state; a `None` value deletes the key."""

    table: str
    key: bytes
    value: bytes | None


class StageResult(msgspec.Struct, frozen=True):
    """All that one batch causes. Of several puts to one key the last counts."""

    outputs: list[Output]
    puts: list[Put]
    poison: list[Poison]


StateReader = Callable[[str, list[bytes]], list[bytes | None]]
"""`(table, keys) -> values`, in the order of the keys, of the partition that the records come from.

The values are those of the last finished batch: a stage that writes and reads one key within a batch keeps
track of that itself.
"""


class Stage(Protocol):
    """One step of the stream."""

    name: str
    tables: tuple[str, ...]

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        """Say what `records` (one partition, rising offsets, at least one) cause.

        Pure but for `read`, and must be safe to call again, with the same records, a part of them or more
        of them. A record that it can tell to be bad becomes `Poison`; an exception makes the runner look
        for the one record that raises it, which then becomes `Poison` too.
        """
        ...

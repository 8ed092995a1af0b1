"""The contract of a stage: a pure function over a batch of records of one partition.

- A stage does not use Kafka, reads no clock and commits nothing.
- It receives records and a view of its own state, and returns records to send and values to write.
- `pipeline.engine.stage_runner` makes the result durable, in the only safe order.
- A stage may be called again with the same records.
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
    """The effects of one batch. Of several puts to one key the last counts."""

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
        """The effects of `records`: one partition, rising offsets, at least one.

        - Pure except for `read`.
        - Must be safe to call again with the same records, some of them, or more of them.
        - A record that the stage recognises as bad becomes `Poison`.
        - After an exception the runner bisects the records; the one that raises becomes `Poison`, too.
        """
        ...

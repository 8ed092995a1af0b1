"""A record of a topic as it was read, a record to send, and a record that could not be processed."""

from __future__ import annotations

import msgspec

from pipeline.runtime.redrive_headers import Redriven


class Record(msgspec.Struct, frozen=True):
    """One record of the log; key and value are undecoded. `redriven` if it was a dead letter before."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    redriven: Redriven | None = None

    @property
    def attempts(self) -> int:
        """The number of its dead letters if it becomes one now."""
        return 1 if self.redriven is None else self.redriven.attempts + 1


class Output(msgspec.Struct, frozen=True):
    """A record to send. `topic` is its physical name, from the topology; the key decides the partition."""

    topic: str
    key: bytes
    value: bytes


class Poison(msgspec.Struct, frozen=True):
    """A record that cannot be processed. `reason` is shown to an operator: no personal data."""

    record: Record
    reason: str
    stage: str

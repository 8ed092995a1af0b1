"""Bisects a chunk that makes a stage fail, so that a poison record costs that record and not its chunk.

Pure. A stage that raises is called again with each half of its records, down to the single record that makes
it raise. That record becomes poison; the others are processed. State that the first half puts is visible to
the second, as if it had been written.
"""

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import Put, Stage, StageResult, StateReader


class OutputTooLarge(Exception):
    """An output larger than a broker accepts: its record is poison, though the stage did not fail."""


class StateUnreadable(Exception):
    """The state could not be read, for the reason in `__cause__`. The records are not the cause."""


def process(
    stage: Stage, units: Iterable[Sequence[Record]], read: StateReader, output_bytes_max: int
) -> StageResult:
    """Process the units one after the other, and join the results.

    Raises `StateUnreadable`, and `MemoryError`, of which a record is rarely the cause.
    """
    bisection = _Bisection(stage, read, output_bytes_max)
    for unit in units:
        bisection.process(unit)
    return StageResult(bisection.outputs, bisection.puts, bisection.poison)


class _Bisection:
    def __init__(self, stage: Stage, read: StateReader, output_bytes_max: int) -> None:
        self._stage = stage
        self._read_stored = read
        self._output_bytes_max = output_bytes_max
        self._put: dict[tuple[str, bytes], bytes | None] = {}
        self._unreadable: Exception | None = None
        self.outputs: list[Output] = []
        self.puts: list[Put] = []
        self.poison: list[Poison] = []

    def process(self, records: Sequence[Record]) -> None:
        if not records:
            return
        try:
            result = self._stage.process(records, self._read)
            self._check(result)
        except MemoryError:
            raise
        except Exception as exc:
            if self._unreadable is not None:
                raise StateUnreadable(repr(self._unreadable)) from self._unreadable
            if len(records) == 1:
                self.poison.append(Poison(records[0], _reason(exc), self._stage.name))
                return
            middle = len(records) // 2
            self.process(records[:middle])
            self.process(records[middle:])
            return
        self.outputs += result.outputs
        self.puts += result.puts
        self.poison += result.poison
        self._put.update(((put.table, put.key), put.value) for put in result.puts)

    def _read(self, table: str, keys: list[bytes]) -> list[bytes | None]:
        try:
            stored = self._read_stored(table, keys)
        except Exception as exc:
            self._unreadable = exc
            raise
        if not self._put:
            return stored
        return [self._put.get((table, key), value) for key, value in zip(keys, stored, strict=True)]

    def _check(self, result: StageResult) -> None:
        for output in result.outputs:
            size_bytes = len(output.key) + len(output.value)
            if size_bytes > self._output_bytes_max:
                raise OutputTooLarge(f"an output of {size_bytes} bytes, at most {self._output_bytes_max}")
        for put in result.puts:
            size_bytes = len(put.key) + len(put.value or b"")
            if size_bytes > self._output_bytes_max:
                raise OutputTooLarge(f"a state of {size_bytes} bytes, at most {self._output_bytes_max}")
            if put.table not in self._stage.tables:
                raise KeyError(f"stage {self._stage.name} has no table {put.table!r}")


def _reason(exc: Exception) -> str:
    """Kind and place, not the message: it may quote an answer or a name."""
    if isinstance(exc, OutputTooLarge):
        return f"{type(exc).__name__}: {exc}"
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(exc).__name__}{place}"

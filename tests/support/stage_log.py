"""Runs a stage over a log as the runner does, with the crashes it can have, on a state in memory."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import Stage


class StageLog:
    """Outputs are durable before state is; a crash can fall between the two."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.state: dict[tuple[str, bytes], bytes] = {}
        self.delivered: list[Output] = []
        self.poison: list[Poison] = []

    def read(self, table: str, keys: list[bytes]) -> list[bytes | None]:
        assert len(set(keys)) == len(keys), "a key is read once a batch"
        return [self.state.get((table, key)) for key in keys]

    def run(self, chunk: Sequence[Record], *, crash_before_state: bool = False) -> None:
        result = self.stage.process(chunk, self.read)
        self.delivered += result.outputs
        self.poison += result.poison
        assert len({(put.table, put.key) for put in result.puts}) == len(result.puts), "one put a key"
        if crash_before_state:
            return
        for put in result.puts:
            if put.value is None:
                self.state.pop((put.table, put.key), None)
            else:
                self.state[put.table, put.key] = put.value

    def run_all(self, log: Sequence[Record], chunk_records: int = 1000) -> None:
        for start in range(0, len(log), chunk_records):
            self.run(log[start : start + chunk_records])

    def to(self, topic: str) -> list[Output]:
        return [output for output in self.delivered if output.topic == topic]

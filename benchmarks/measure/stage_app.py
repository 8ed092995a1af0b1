"""The stream's own app in a process of a benchmark: stages, their tables and outputs, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.engine.app import Deliveries, StageAgent, StreamApp, StreamSettings, build_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.chunk import ChunkLimits
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import StageResult, StateReader
from pipeline.topology.model import Topology

OUTPUT_BYTES_MAX = 1_048_576
LOG_START_AGE_S_MAX = 0.2  # `bench expiry` deletes records in seconds, not in hours


class Empty:
    """A stage that does nothing: what remains is the transport, the runner and the tables it names."""

    def __init__(self, name: str = "empty", tables: tuple[str, ...] = ()) -> None:
        self.name = name
        self.tables = tables

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        return StageResult([], [], [])


def stage_app(
    bootstrap: str, group: str, datadir: Path, topology: Topology, agents: Sequence[StageAgent]
) -> StreamApp:
    """With the chunks and timeouts of the topology; a poison record ends the process."""
    stream = topology.stream
    settings = StreamSettings(
        group,
        bootstrap,
        datadir,
        OUTPUT_BYTES_MAX,
        ChunkLimits(stream.chunk_records_max, stream.chunk_bytes_max),
        session_timeout_s=stream.session_timeout_s,
        commit_interval_s=stream.commit_interval_s,
        log_start_age_s_max=LOG_START_AGE_S_MAX,
    )
    return build_app(settings, agents, Deliveries(BatchProducer(bootstrap, OUTPUT_BYTES_MAX), _no_poison))


def _no_poison(poison: Poison) -> Output:
    raise AssertionError(poison.reason)

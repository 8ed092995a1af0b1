"""A worker of the live-feed test: takes seconds for a chunk, writes down durably what it did, then acks.

"Durably" is a line in a file: it outlives the process, which is what is killed here. `ours` runs the
stream's own app and runner; `faust-gaps` runs the same runner on chunks with Faust's own bookkeeping of
acks.
"""

import argparse
import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from pipeline.engine.app import Deliveries, StageAgent, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import Delivered, Outgoing
from pipeline.engine.chunk import ChunkLimits
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import StageResult, StateReader
from tests.support import gaps_transport

CHUNK_S_MIN, CHUNK_S_MAX = 0.5, 6.0  # some end within a rebalance, some after
CHUNK_RECORDS_MIN, CHUNK_RECORDS_MAX = 10, 400
HURRY = "feed-ended"  # once this file is there, chunks take no time


class Journal:
    """What a stage sends, slowly: one line a chunk in a file, `partition first last`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._fd = os.open(folder / f"{name}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._hurry = folder / HURRY
        self._rng = random.Random(name)

    async def deliver(
        self, records: Sequence[Outgoing], positioned: Sequence[Outgoing] = ()
    ) -> Mapping[tuple[str, int], Delivered]:
        """Wait, then write the offsets down. A process that is killed in between has written nothing."""
        until_s = monotonic() + self._rng.uniform(CHUNK_S_MIN, CHUNK_S_MAX)
        while monotonic() < until_s and not self._hurry.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        partition = int(records[0].key or b"")
        offsets = [int(record.value or b"") for record in records]
        assert offsets == list(range(offsets[0], offsets[-1] + 1))
        os.write(self._fd, b"%d %d %d\n" % (partition, offsets[0], offsets[-1]))
        return {}


class Ragged(ChunkLimits):
    """Cuts chunks elsewhere each time, as different fetches do."""

    @property
    def records_max(self) -> int:
        return random.randint(CHUNK_RECORDS_MIN, CHUNK_RECORDS_MAX)


class Echo:
    """Says of each record where it lay."""

    name = "echo"
    tables: tuple[str, ...] = ()

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        return StageResult([Output("", b"%d" % r.partition, b"%d" % r.offset) for r in records], [], [])


def _never(poison: Poison) -> Output:
    raise AssertionError(poison.reason)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=["ours", "faust-gaps"], required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--session-timeout-s", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", required=True)
    args = parser.parse_args()
    settings = StreamSettings(
        group=args.group,
        bootstrap_servers=args.bootstrap,
        datadir=args.folder / args.name,
        output_bytes_max=1_000,
        chunk_limits=Ragged(),
        session_timeout_s=args.session_timeout_s,
        transport="batch" if args.variant == "ours" else gaps_transport.register(),
    )
    journal = Journal(args.folder, args.name)
    agent = StageAgent(stage=Echo(), source=args.topic, partitions=args.partitions, changelogs={})
    run_app(build_app(settings, [agent], Deliveries(journal, _never)))


if __name__ == "__main__":
    main()

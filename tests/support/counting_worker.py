"""A worker with one stage that counts the records of each key, in a table; a program for tests.

A record with the value `lethal` kills the process, one with `bad` raises.
"""

import argparse
import asyncio
import os
import signal
import struct
from collections.abc import Sequence
from pathlib import Path

from pipeline.engine.app import Deliveries, StageAgent, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.chunk import ChunkLimits
from pipeline.engine.transport import Consumer
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import Put, StageResult, StateReader

TABLE = "counts"
COUNT = struct.Struct(">qq")  # records counted, offset of the last one
SESSION_TIMEOUT_S = 6.0  # the least that a broker allows by default
CHUNK_RECORDS_MAX = 50
LATE_CHUNKS = 4  # more than the stage takes before Faust goes on


class Count:
    """Counts each record once: one that lies before the last counted one was counted already."""

    name = "count"
    tables: tuple[str, ...] = (TABLE,)

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        keys = [*dict.fromkeys(r.key or b"" for r in records)]
        states = {
            key: (0, -1) if value is None else COUNT.unpack(value)
            for key, value in zip(keys, read(TABLE, keys), strict=True)
        }
        for r in records:
            if r.value == b"lethal":
                os.kill(os.getpid(), signal.SIGKILL)
            if r.value == b"bad":
                raise ValueError("bad")
            count, last = states[r.key or b""]
            if r.offset > last:
                states[r.key or b""] = count + 1, r.offset
        return StageResult([], [Put(TABLE, key, COUNT.pack(*state)) for key, state in states.items()], [])


def be_late_after_seek() -> None:
    """Goes on after a seek only once chunks of what was sought are waiting for the stage."""
    seek = Consumer.perform_seek

    async def seek_and_be_late(consumer: Consumer) -> None:
        await seek(consumer)
        # A queue tells nobody how long it is.
        while all(q.qsize() < LATE_CHUNKS for q in consumer.app.flow_control._queues):  # noqa: ASYNC110
            await asyncio.sleep(0)

    Consumer.perform_seek = seek_and_be_late  # type: ignore[method-assign, assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "group", "source", "changelog", "dead-letters"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--datadir", type=Path, required=True)
    parser.add_argument("--late-after-seek", action="store_true", help="as on a busy machine")
    args = parser.parse_args()
    if args.late_after_seek:
        be_late_after_seek()

    def dead_letter(poison: Poison) -> Output:
        return Output(args.dead_letters, b"", b"%d %s" % (poison.record.offset, poison.reason.encode()))

    settings = StreamSettings(
        group=args.group,
        bootstrap_servers=args.bootstrap,
        datadir=args.datadir,
        output_bytes_max=1_000_000,
        chunk_limits=ChunkLimits(records_max=CHUNK_RECORDS_MAX),
        session_timeout_s=SESSION_TIMEOUT_S,
        commit_interval_s=0.3,
    )
    agent = StageAgent(Count(), args.source, args.partitions, {TABLE: args.changelog})
    producer = BatchProducer(args.bootstrap, 1_000_000)
    run_app(build_app(settings, [agent], Deliveries(producer, dead_letter)))


if __name__ == "__main__":
    main()

"""Faust as it comes: its aiokafka transport, its tables on RocksDB, one event after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import faust

from benchmarks.peers import verdicts
from benchmarks.peers.process import Meter, Work, told
from benchmarks.stage_input import campaigns

Process = Callable[[Any], Awaitable[None]]


def _raw(app: Any, name: str) -> Any:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def qualify(app: Any, work: Work) -> Process:
    outcomes, matches = _raw(app, work.topic("outcomes")), _raw(app, work.topic("matches"))
    allowed = app.Table("allowed", partitions=_partitions(work), key_type=bytes)
    judge = verdicts.Judge(work.topology.windows, campaigns).judge

    async def process(event: Any) -> None:
        memory = allowed.get(event.key) or []
        completion = verdicts.decode_completion(event.value)
        judged = judge(completion, event.message.partition, event.message.offset, memory)
        await outcomes.send(key=event.key, value=verdicts.encode_outcome(judged.outcome))
        for match in judged.matches:
            await matches.send(key=verdicts.key_of(match), value=verdicts.encode_match(match))
        allowed[event.key] = memory

    return process


def dedup(app: Any, work: Work) -> Process:
    deliveries, duplicates = _raw(app, work.topic("deliveries")), _raw(app, work.topic("duplicates"))
    seen = app.Table("seen", partitions=_partitions(work), key_type=bytes)

    async def process(event: Any) -> None:
        match = verdicts.decode_match(event.value)
        first = seen.get(event.key)
        duplicate = verdicts.duplicate_of(match, first)
        if duplicate is None:
            await deliveries.send(key=event.key, value=event.value)
        else:
            await duplicates.send(key=event.key, value=verdicts.encode_duplicate(duplicate))
        if first is None:
            seen[event.key] = match.completion_id

    return process


def empty(app: Any, work: Work) -> Process:
    async def process(event: Any) -> None:
        return

    return process


def _partitions(work: Work) -> int:
    return work.topology.topic("matches" if work.way == "dedup" else "completions").partitions


def main() -> None:
    work = told()
    meter = Meter(work)
    app = faust.App(
        work.group,
        broker=f"kafka://{work.bootstrap}",
        store="rocksdb://",
        datadir=str(work.datadir),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        topic_replication_factor=1,
        producer_partitioner=None,
    )
    process = {"empty": empty, "qualify": qualify, "dedup": dedup}[work.way](app, work)

    async def run(stream: Any) -> None:
        async for event in stream.events():
            await process(event)
            if meter.count():
                await app.producer.flush()
                await app.consumer.commit()
                meter.end_now()

    app.agent(_raw(app, work.source), name=work.way)(run)
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()

"""Stages on tables that already hold so many keys: RocksDB as a worker opens it, filled before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from faust.types import TP

from benchmarks.load.completions import ACCEPTED_AT_MS, answers_of, completion, matched, ten_campaigns
from benchmarks.measure.machine import TOPOLOGY
from pipeline.engine.store import BatchStore
from pipeline.runtime.record import Record
from pipeline.stages.contact_memory import Allowed, ContactMemory, encode
from pipeline.stages.contract import Stage
from pipeline.stages.dedup import Dedup
from pipeline.stages.dedup import Wiring as DedupWiring
from pipeline.stages.qualify import Qualify
from pipeline.stages.qualify import Wiring as QualifyWiring
from pipeline.topology.loader import load
from schemas.codec import codec
from schemas.ids import match_key

RECORDS = 1_000  # of a chunk
CHUNKS = 2  # of a round, each of another partition
FILL_KEYS = 50_000  # of one write
CAMPAIGN = "0f8fad5b-d9cb-469f-a165-70867728950e"
DELIVERED, WINDOWS = "delivered", "contact_windows"
SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd: n * SPREAD mod 2^128 is another number for each n
MASK = (1 << 128) - 1
ENTRY_BYTES_MAX = 250  # key and value on disk, uncompressed, with what a compaction holds twice


def contact(number: int) -> str:
    """Another for each number, in an order that is random to a tree of keys."""
    return f"{number * SPREAD & MASK:032x}"


# Of key number, partition and offset; another completion at each offset.
MakeRecord = Callable[[int, int, int], Record]


class OnState:
    """A stage that works on a filled table: some keys are known, the others new; `growth_rounds.Subject`."""

    def __init__(
        self,
        stage: Stage,
        store: BatchStore,
        partitions: int,
        keys: int,
        known_percent: int,
        record: MakeRecord,
    ) -> None:
        self._stage, self._store, self._record = stage, store, record
        self._partitions, self._keys, self._known_percent = partitions, keys, known_percent
        self._rng = random.Random(keys)
        self._next_new = [(keys // partitions + 1) * partitions + each for each in range(partitions)]
        self._offset = keys

    def ready(self) -> Callable[[], int]:
        chosen = self._rng.sample(range(self._partitions), min(CHUNKS, self._partitions))
        chunks = [(partition, self._chunk(partition)) for partition in chosen]

        def work() -> int:
            return sum(self._run(partition, records) for partition, records in chunks)

        return work

    def _chunk(self, partition: int) -> list[Record]:
        records = []
        for _ in range(RECORDS):
            if self._rng.randrange(100) < self._known_percent:
                number = self._rng.randrange(self._keys // self._partitions) * self._partitions + partition
            else:
                number = self._next_new[partition]
                self._next_new[partition] += self._partitions
            self._offset += 1
            records.append(self._record(number, partition, self._offset))
        return records

    def _run(self, partition: int, records: list[Record]) -> int:
        """As the stage runner does it, without the writes to the brokers."""
        result = self._stage.process(records, lambda _table, keys: self._store.get_many(partition, keys))
        values = {put.key: put.value for put in result.puts}
        self._store.write(partition, values, records[-1].offset, None, records[-1].timestamp_ms)
        return len(records)


def dedup(store: BatchStore, partitions: int, keys: int) -> OnState:
    """Of ten matches one is a duplicate."""
    stage = Dedup(DedupWiring("deliveries", "duplicates", DELIVERED))
    encode_match = codec("match").encode

    def record(number: int, partition: int, offset: int) -> Record:
        of, completion_id = contact(number), str(UUID(int=offset))
        match = matched(str(UUID(int=number)), of, completion_id, ACCEPTED_AT_MS, campaign_id=CAMPAIGN)
        key = match_key(CAMPAIGN, of)
        return Record("matches", partition, offset, ACCEPTED_AT_MS, key, encode_match(match))

    return OnState(stage, store, partitions, keys, 10, record)


def delivered_entry(number: int) -> tuple[bytes, bytes]:
    return match_key(CAMPAIGN, contact(number)), str(UUID(int=number * SPREAD & MASK)).encode()


def qualify(store: BatchStore, partitions: int, keys: int) -> OnState:
    """Of two completions one is of a known contact. Each matches one campaign."""
    campaigns = ten_campaigns()
    wiring = QualifyWiring("outcomes", "matches", WINDOWS, load(TOPOLOGY).windows)
    encode_completion, answers = codec("completion").encode, answers_of()

    def record(number: int, partition: int, offset: int) -> Record:
        at_ms = ACCEPTED_AT_MS + 2 * 3_600_000 + offset
        score = float(number % 10)
        one = completion(offset, contact(number), at_ms, answers=answers, score=score)
        key = one.contact_id.encode()
        return Record("completions", partition, offset, at_ms, key, encode_completion(one))

    return OnState(Qualify(wiring, lambda: campaigns), store, partitions, keys, 50, record)


def window_entry(number: int) -> tuple[bytes, bytes]:
    memory = ContactMemory()
    entry = Allowed(
        ACCEPTED_AT_MS, str(UUID(int=number * SPREAD & MASK)), "quiz", number, (("campaign-0", 1),)
    )
    memory.remember(entry, 64, 256)
    return contact(number).encode(), encode(memory)


class Table(NamedTuple):
    """A table by its name, with `entry` (the key and value of the n-th) and the stage that works on it."""

    name: str
    entry: Callable[[int], tuple[bytes, bytes]]
    stage: Callable[[BatchStore, int, int], OnState]

    @contextmanager
    def open(self, folder: Path, partitions: int) -> Iterator[BatchStore]:
        """Its store as Faust makes it, with so many partitions assigned."""
        changelog = f"{self.name}.changelog"
        app: Any = SimpleNamespace(conf=SimpleNamespace(tabledir=folder), loop=None)
        topic = SimpleNamespace(get_topic_name=lambda: changelog, topics=[changelog])
        store = BatchStore("batch://", app, SimpleNamespace(name=self.name, changelog_topic=topic))
        assigned = {TP(changelog, partition) for partition in range(partitions)}
        asyncio.run(store.on_rebalance(assigned, set(), assigned))
        try:
            yield store
        finally:
            asyncio.run(store.on_stop())

    def fill(self, store: BatchStore, partitions: int, keys: int) -> None:
        """Entries 0 to `keys`, the n-th in partition n % `partitions`, in large writes."""
        for partition in range(partitions):
            numbers = range(partition, keys, partitions)
            for first in range(0, len(numbers), FILL_KEYS):
                some = numbers[first : first + FILL_KEYS]
                values: dict[bytes, bytes | None] = dict(map(self.entry, some))
                store.write(partition, values, reflects=first, appended=None, at_ms=ACCEPTED_AT_MS)


DEDUP = Table(DELIVERED, delivered_entry, dedup)
TABLES = (DEDUP, Table(WINDOWS, window_entry, qualify))

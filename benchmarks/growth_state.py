"""Stages on real tables that already hold so many keys: RocksDB as a worker opens it, filled before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from faust.types import TP

from benchmarks.hot_path import TOPOLOGY
from benchmarks.stage_input import ACCEPTED_AT_MS, QUESTIONS, campaigns
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
from schemas.records import Answer, Completion, Match, Personal

RECORDS = 1_000  # of a chunk
CHUNKS = 2  # of a round, each of another partition
FILL_KEYS = 50_000  # of one write
CAMPAIGN = "0f8fad5b-d9cb-469f-a165-70867728950e"
DELIVERED, WINDOWS = "delivered", "contact_windows"
SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd: n * SPREAD mod 2^128 is another number for each n
MASK = (1 << 128) - 1
ENTRY_BYTES_MAX = (
    250  # key and value on disk, before anything is compressed, with what a compaction holds twice
)


def contact(number: int) -> str:
    """Every number's own, in no order that a tree of keys could profit from."""
    return f"{number * SPREAD & MASK:032x}"


@contextmanager
def table(folder: Path, name: str, partitions: int) -> Iterator[BatchStore]:
    """The table's store as Faust makes it, with so many partitions assigned."""
    changelog = f"{name}.changelog"
    app: Any = SimpleNamespace(conf=SimpleNamespace(tabledir=folder), loop=None)
    topic = SimpleNamespace(get_topic_name=lambda: changelog, topics=[changelog])
    store = BatchStore("batch://", app, SimpleNamespace(name=name, changelog_topic=topic))
    assigned = {TP(changelog, partition) for partition in range(partitions)}
    asyncio.run(store.on_rebalance(assigned, set(), assigned))
    try:
        yield store
    finally:
        asyncio.run(store.on_stop())


def fill(store: BatchStore, partitions: int, keys: int, entry: Callable[[int], tuple[bytes, bytes]]) -> None:
    """Entries 0 to `keys`, the n-th in partition n % `partitions`, in large writes."""
    for partition in range(partitions):
        numbers = range(partition, keys, partitions)
        for first in range(0, len(numbers), FILL_KEYS):
            values: dict[bytes, bytes | None] = dict(map(entry, numbers[first : first + FILL_KEYS]))
            store.write(partition, values, reflects=first, appended=None)


class OnState:
    """A stage that works on a filled table: some keys are known, the others new, as they come in traffic."""

    def __init__(
        self,
        stage: Stage,
        store: BatchStore,
        partitions: int,
        keys: int,
        known_percent: int,
        record: Callable[[int, int, int], Record],
    ) -> None:
        """`record` of key number, partition and offset; another completion at each offset."""
        self._stage = stage
        self._store = store
        self._partitions = partitions
        self._keys = keys
        self._known_percent = known_percent
        self._record = record
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
        """As the runner does it, without what the brokers are told."""
        result = self._stage.process(records, lambda _table, keys: self._store.get_many(partition, keys))
        values = {put.key: put.value for put in result.puts}
        self._store.write(partition, values, records[-1].offset, None)
        return len(records)


class TableAlone:
    """Reads and writes of the table, without a stage: what of the cost can depend on the keys at all."""

    def __init__(self, on_state: OnState) -> None:
        self._on_state = on_state

    def ready(self) -> Callable[[], int]:
        inner = self._on_state
        partition = inner._rng.randrange(inner._partitions)
        records = inner._chunk(partition)
        keys = [record.key for record in records if record.key is not None]
        value = str(UUID(int=0)).encode()

        def work() -> int:
            known = inner._store.get_many(partition, keys)
            new = {key: value for key, held in zip(keys, known, strict=True) if held is None}
            inner._store.write(partition, new, records[-1].offset, None)
            return len(keys)

        return work


def dedup(store: BatchStore, partitions: int, keys: int) -> OnState:
    """Of ten matches one is a duplicate."""
    stage = Dedup(DedupWiring("deliveries", "duplicates", DELIVERED))
    encode_match = codec("match").encode

    def record(number: int, partition: int, offset: int) -> Record:
        of = contact(number)
        match = Match(
            delivery_id=str(UUID(int=number)),
            tenant_id="bench",
            campaign_id=CAMPAIGN,
            campaign_version=1,
            campaign_month=0,
            contact_id=of,
            completion_id=str(UUID(int=offset)),
            quiz_id="quiz",
            day=0,
            accepted_at=ACCEPTED_AT_MS,
            variables={},
            personal=Personal(phone="+5511912345678"),
        )
        key = match_key(CAMPAIGN, of)
        return Record("matches", partition, offset, ACCEPTED_AT_MS, key, encode_match(match))

    return OnState(stage, store, partitions, keys, 10, record)


def delivered_entry(number: int) -> tuple[bytes, bytes]:
    return match_key(CAMPAIGN, contact(number)), str(UUID(int=number * SPREAD & MASK)).encode()


def qualify(store: BatchStore, partitions: int, keys: int) -> OnState:
    """Of two completions one is of a contact that is known. Each matches one campaign."""
    known = campaigns()
    wiring = QualifyWiring("outcomes", "matches", WINDOWS, load(TOPOLOGY).windows)
    encode_completion = codec("completion").encode
    answers: dict[str, Answer] = {f"q{question}": str(question % 5) for question in range(QUESTIONS)}

    def record(number: int, partition: int, offset: int) -> Record:
        of = contact(number)
        at_ms = ACCEPTED_AT_MS + 2 * 3_600_000 + offset
        completion = Completion(
            completion_id=str(UUID(int=offset)),
            tenant_id="bench",
            quiz_id="quiz",
            quiz_version=1,
            contact_id=of,
            day=0,
            submitted_at=at_ms,
            accepted_at=at_ms,
            answers=answers,
            personal=Personal(phone="+5511912345678"),
            score=float(number % 10),
        )
        return Record("completions", partition, offset, at_ms, of.encode(), encode_completion(completion))

    return OnState(Qualify(wiring, lambda: known), store, partitions, keys, 50, record)


def window_entry(number: int) -> tuple[bytes, bytes]:
    memory = ContactMemory()
    entry = Allowed(
        ACCEPTED_AT_MS, str(UUID(int=number * SPREAD & MASK)), "quiz", number, (("campaign-0", 1),)
    )
    memory.remember(entry, 64, 256)
    return contact(number).encode(), encode(memory)

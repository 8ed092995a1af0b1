"""Growth of a worker's state under anonymous completions: `quizstream bench expiry`.

Each completion has a contact of its own, so without expiry each leaves a key and a changelog record
permanently. The records' times move on by a quarter of the table's retention with each round, on the
topology's own settings. After a round the source's older records are deleted, as its retention would; the
changelog gets small segments, so that Kafka compacts it within the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported implicitly
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from benchmarks.load.completions import answers_of, completion
from benchmarks.load.filling import fill
from benchmarks.measure.checks import CheckFailed, wait_until
from benchmarks.measure.deployment import Broker, Log, broker
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import own_topics
from benchmarks.plans import Expiry
from benchmarks.scenarios.worker import Worker, require_alive, workers_of
from pipeline.runtime.kafka_clients import admin_client
from pipeline.runtime.topic_offsets import Offsets, TopicOffsets
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.model import Topic
from schemas.codec import codec
from schemas.records import Personal

TABLE = "contact_windows"
HOUR_MS = 3_600_000
ROUNDS_KEPT = 4  # a table's retention in rounds
KEPT_IN_SOURCE = 2  # rounds: the last and the one before
GROWTH_MAX = 1.1  # the largest of the last third of the rounds over the largest of the middle third
CHANGELOG = {
    "segment.bytes": "1048576",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "1000",
}
SOURCE = {"retention.ms": "-1"}  # the times lie months back
ROUND_TIMEOUT_S = 300.0
COMPACTED_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.02
BLOCK_BYTES = 512  # of st_blocks


class Round(msgspec.Struct, frozen=True):
    """State at the end of a round. `changelog_mb` is 0 where the broker's folder is not known."""

    completions: int
    keys: int
    worker_mb: float
    changelog_mb: float
    worker_cpu_us_per_record: float


class Result(Measured, frozen=True, kw_only=True):
    """`changelog_keys`: what a worker with an empty folder would read back. `ok`: nothing grew."""

    records: int
    rounds_of: list[Round]
    keys_max: int
    keys_last: int
    worker_mb_last: float
    changelog_mb_last: float
    changelog_records: int
    changelog_keys: int
    cpu_us_per_record_before: float
    cpu_us_per_record_expiring: float
    ok: bool


def measure(plan: Expiry, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    with broker(log, plan.port_base) as kafka:
        return grown(kafka, plan, log, COMPACTED_TIMEOUT_S)


def grown(kafka: Broker, plan: Expiry, log: Log, compacted_timeout_s: float) -> Result:
    """Waits at the end so long for the changelog's compaction. Raises CheckFailed, LoadBroken."""
    head = begin("expiry")
    with own_topics(kafka.bootstrap) as (namespace, topology):
        source, changelog = topology.topic("completions"), topology.table(TABLE).changelog
        _alter(kafka, source, SOURCE)
        _alter(kafka, changelog, CHANGELOG)
        step_ms = topology.table(TABLE).retention_h * HOUR_MS // ROUNDS_KEPT
        began_ms = time.time_ns() // 1_000_000 - plan.rounds * step_ms
        rounds: list[Round] = []
        ends: list[Offsets] = []
        with workers_of(kafka, namespace, 1) as (worker,), TopicOffsets(kafka.bootstrap) as offsets:
            for number in range(plan.rounds):
                used_s = worker.progress.cpu_s
                at_ms = began_ms + number * step_ms
                fill(kafka.bootstrap, _anonymous(source, number * plan.records, plan.records, at_ms), at_ms)
                _wait_for(worker, (number + 1) * plan.records)
                ends.append(offsets.ends({source.name: source.partitions}))
                if number >= KEPT_IN_SOURCE:
                    _delete_to(kafka, ends[number - KEPT_IN_SOURCE])
                rounds.append(
                    Round(
                        completions=(number + 1) * plan.records,
                        keys=worker.progress.keys,
                        worker_mb=_mb(kafka.home / namespace),
                        changelog_mb=sum(_mb(path) for path in kafka.home.rglob(f"{changelog.name}-*")),
                        worker_cpu_us_per_record=round(
                            1e6 * (worker.progress.cpu_s - used_s) / plan.records, 1
                        ),
                    )
                )
                log(f"round {number + 1} of {plan.rounds}: {rounds[-1]}")
            records, keys = _changelog(kafka, changelog, rounds[-1].keys, compacted_timeout_s)
    third = len(rounds) // 3
    middle, last = rounds[third : 2 * third], rounds[2 * third :]
    return Result(
        **head,
        records=plan.records * plan.rounds,
        rounds_of=rounds,
        keys_max=max(each.keys for each in rounds),
        keys_last=rounds[-1].keys,
        worker_mb_last=rounds[-1].worker_mb,
        changelog_mb_last=rounds[-1].changelog_mb,
        changelog_records=records,
        changelog_keys=keys,
        cpu_us_per_record_before=_mean(
            [each.worker_cpu_us_per_record for each in rounds[1 : ROUNDS_KEPT + 1]]
        ),
        cpu_us_per_record_expiring=_mean([each.worker_cpu_us_per_record for each in last]),
        ok=all(
            max(getattr(each, what) for each in last)
            <= GROWTH_MAX * max(getattr(each, what) for each in middle)
            for what in ("keys", "worker_mb", "changelog_mb")
        ),
    )


def _anonymous(topic: Topic, first: int, count: int, at_ms: int) -> Iterator[tuple[str, bytes, bytes]]:
    encode, answers = codec("completion").encode, answers_of()
    for number in range(first, first + count):
        contact = UUID(int=number).hex
        event = completion(number, contact, at_ms, answers=answers, personal=Personal())
        yield topic.name, contact.encode(), encode(event)


def _wait_for(worker: Worker, records: int) -> None:
    """Raises CheckFailed."""

    def done() -> bool:
        require_alive([worker])
        return worker.progress.records >= records

    wait_until(
        done, ROUND_TIMEOUT_S, lambda: f"{worker.progress.records:,} of {records:,} ended", LOOK_EVERY_S
    )
    if worker.progress.records > records:
        raise CheckFailed(f"{worker.progress.records:,} records of {records:,}")


def _alter(kafka: Broker, topic: Topic, settings: dict[str, str]) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)
    admin = admin_client(kafka.bootstrap)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


def _delete_to(kafka: Broker, ends: Offsets) -> None:
    places = [TopicPartition(topic, *place) for topic, of in ends.items() for place in of.items()]
    admin = admin_client(kafka.bootstrap)
    for future in admin.delete_records(places).values():
        future.result()


def _changelog(kafka: Broker, topic: Topic, keys: int, timeout_s: float) -> tuple[int, int]:
    """Its records and its keys, once compaction has removed most of the others, or after a while."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        values: dict[bytes, bytes | None] = {}
        records = 0
        for record in TopicScan(kafka.bootstrap, topic).records():
            records += 1
            values[record.key or b""] = record.value
        live = sum(value is not None for value in values.values())
        if records <= 2 * keys or time.monotonic() > deadline_s:
            return records, live
        time.sleep(1.0)


def _mb(folder: Path) -> float:
    """On disk: the broker's index files are larger than what they take."""
    blocks = sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
    return round(blocks * BLOCK_BYTES / 1e6, 1)


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 1)

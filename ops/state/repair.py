"""Repairs a record of a changelog that cannot be read, and at which a worker's recovery stops.

A later record of its key supersedes it. The repair appends one: the rebuilt value where there is a source for
it, else the last readable one, else a tombstone, by which the key is forgotten. The unreadable record becomes
a dead letter first, whole. Repeating the repair after an interruption is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ops.locate import Deployment
from ops.state.rebuild import REBUILDERS, UNREADABLE, Rebuilder
from pipeline.engine.envelope import (
    OFFSET_HEADER,
    CorruptEnvelope,
    offset_bytes,
    payload,
    seal,
    source_offset,
)
from pipeline.errors import OperatorError
from pipeline.runtime.record import Record
from pipeline.runtime.topic_reader import RecordLookup, TopicReader
from pipeline.topology.model import Topic
from sinks.postgres import audit_log
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import DELIVERY_TIMEOUT_MS, DeadLetters, NotDelivered, producer
from sinks.postgres.sink import Refused

ACTION = "state.repair"
STAGE = "state-repair"
CLIENT = "quizstream-repair"

By = Literal["rebuilt", "last readable value", "forgotten"]


class NothingToRepair(OperatorError):
    """The record needs no repair; the message says why."""


class Repair(msgspec.Struct, frozen=True):
    """`by`: what supersedes the record; `offset_new`: its offset, None for a dry run.

    `loss`: what it means that the key is forgotten, empty unless it is.
    """

    topic: str
    partition: int
    offset: int
    table: str
    why: str
    by: By
    source: str
    loss: str
    done: bool
    offset_new: int | None = None


class _Planned(NamedTuple):
    record: Record
    report: Repair
    value: bytes | None
    reflects: int


def plan(found: Deployment, topic: str, partition: int, offset: int) -> Repair:
    """What a repair would do. `topic` is a role or a name.

    Raises NothingToRepair, KafkaException and psycopg.Error.
    """
    with connect(found.settings.database_url, CLIENT) as connection:
        return _plan(found, connection, topic, partition, offset).report


def repair(found: Deployment, actor: str, topic: str, partition: int, offset: int) -> Repair:
    """Returns once the dead letter, the superseding record and the entry in the audit log are durable.

    The workers of this deployment may run; they use the repair at their next start. Raises NothingToRepair,
    NotDelivered, KafkaException and psycopg.Error.
    """
    settings, topology = found.settings, found.topology
    with connect(settings.database_url, CLIENT) as connection:
        planned = _plan(found, connection, topic, partition, offset)
        sender = producer(settings.kafka_bootstrap_servers, CLIENT, topology.record_bytes_max)
        letters = DeadLetters(sender, topology.topic("dead_letters"))
        letters.refuse(STAGE, [Refused(planned.record, planned.report.why)])
        with connection.transaction():
            report = planned.report
            audit_log.record(
                connection,
                actor,
                ACTION,
                f"{report.topic}[{partition}]@{offset}",
                table=report.table,
                by=report.by,
                source=report.source,
            )
            new = _append(sender, planned)
    return msgspec.structs.replace(report, done=True, offset_new=new)


def _plan(found: Deployment, connection: Connection, topic: str, partition: int, offset: int) -> _Planned:
    changelog = _changelog(found, topic)
    assert changelog.changelog_of is not None
    rebuilder = REBUILDERS[changelog.changelog_of]
    if not 0 <= partition < changelog.partitions:
        last = changelog.partitions - 1
        raise NothingToRepair(f"{changelog.name} has no partition {partition}, only 0 to {last}")
    place = f"{changelog.name} partition {partition} offset {offset}"
    with RecordLookup(found.settings.kafka_bootstrap_servers, CLIENT) as lookup:
        record = lookup.record(changelog.name, partition, offset)
    if record is None:
        raise NothingToRepair(f"{place}: no record; it was compacted, since a later one of its key is there")
    why = _unreadable(record.value, rebuilder)
    if why is None:
        raise NothingToRepair(f"{place}: the record is readable")
    if record.key is None:
        raise NothingToRepair(f"{place}: the record has no key, so no table has it")
    readable, reflects = _others(found, changelog, record, rebuilder)
    if readable is not None and readable.offset > offset:
        raise NothingToRepair(f"{place}: superseded already, by offset {readable.offset}")
    rebuilt = rebuilder.rebuild(found, connection, partition, record.key)
    by: By
    if rebuilt is not None:
        by, source, value = "rebuilt", f"from {rebuilt.source}", rebuilt.value
        reflects = max(reflects, rebuilt.reflects)
    elif readable is not None and readable.value is not None:
        by, source, value = "last readable value", f"of offset {readable.offset}", payload(readable.value)
    else:
        by, source, value = "forgotten", "no source holds it", None
    report = Repair(
        changelog.name,
        partition,
        offset,
        changelog.changelog_of,
        why,
        by,
        source,
        rebuilder.loss if by == "forgotten" else "",
        done=False,
    )
    return _Planned(record, report, value, max(0, reflects))


def _changelog(found: Deployment, topic: str) -> Topic:
    """Raises NothingToRepair."""
    for role, each in found.topology.topics.items():
        if topic in (role, each.name):
            if each.changelog_of is not None:
                return each
            raise NothingToRepair(f"{topic} is not the changelog of a table: its records are never repaired")
    raise NothingToRepair(f"There is no topic {topic} in topology.yaml.")


def _unreadable(value: bytes | None, rebuilder: Rebuilder) -> str | None:
    """Why the value cannot be used; None for a tombstone and a readable value."""
    if value is None:
        return None
    try:
        source_offset(value)
    except CorruptEnvelope as error:
        return str(error)
    try:
        rebuilder.check(payload(value))
    except UNREADABLE as error:
        return f"its value is not one of this table ({type(error).__name__})"
    return None


def _others(
    found: Deployment, changelog: Topic, record: Record, rebuilder: Rebuilder
) -> tuple[Record | None, int]:
    """The last readable record of the same key, and the highest source offset of any (-1 for none)."""
    last: Record | None = None
    reflects = -1
    with TopicReader(found.settings.kafka_bootstrap_servers, changelog.name, CLIENT) as reader:
        bound = reader.bounds(changelog.partitions)[record.partition]
        for batch in reader.read({record.partition: bound.first}, {record.partition: bound.end}):
            for each in batch.records:
                if each.key == record.key and _unreadable(each.value, rebuilder) is None:
                    last = each
                    reflects = max(reflects, -1 if each.value is None else source_offset(each.value))
    return last, reflects


def _append(sender: Producer, planned: _Planned) -> int:
    """The offset of the superseding record. Raises NotDelivered."""
    record, value = planned.record, planned.value
    sealed = None if value is None else seal(planned.reflects, value)
    headers = [(OFFSET_HEADER, offset_bytes(planned.reflects))] if value is None else []
    offsets: list[int] = []
    errors: list[KafkaError] = []

    def reported(error: KafkaError | None, message: Message) -> None:
        if error is None:
            offsets.append(int(message.offset() or 0))
        else:
            errors.append(error)

    try:
        _produce(sender, record, sealed, headers, reported)
        sender.flush(DELIVERY_TIMEOUT_MS / 1000 + 1)
    except (KafkaException, BufferError) as error:
        raise NotDelivered(f"state repair: {error}") from error
    if not offsets:
        why = errors[0].str() if errors else "no acknowledgement in time"
        raise NotDelivered(f"state repair: {why}; nothing is repaired; repeat the command")
    return offsets[0]


def _produce(
    sender: Producer,
    record: Record,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    reported: Callable[[KafkaError | None, Message], None],
) -> None:
    sender.produce(
        record.topic,
        value,
        record.key,
        record.partition,
        on_delivery=reported,
        headers=headers,  # type: ignore[arg-type]  # the stub knows str values only
    )

"""Rebuilds the value of one key of a worker's table from what else holds it: the ledger, the verdicts.

A value carries the source offset that it reflects, as the worker writes it: see `pipeline.engine.envelope`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from ops.locate import Deployment
from pipeline.runtime.record import Record
from pipeline.runtime.topic_reader import TopicReader
from pipeline.stages.contact_memory import Allowed, ContactMemory, Limited, decode, encode
from pipeline.stages.qualify import LIMITED_REMEMBERED_MAX
from schemas.codec import Undecodable, codec
from schemas.records import Outcome
from sinks.postgres.connect import Connection
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("repair.sql"))


class Rebuilt(NamedTuple):
    """A value and the source offset that it reflects (-1: unknown); `source`: what it was made from."""

    value: bytes
    reflects: int
    source: str


class Rebuilder(NamedTuple):
    """What a table's values are: `check` raises for one that a stage cannot read, `rebuild` makes one.

    `loss` tells what it means when a key is forgotten.
    """

    check: Callable[[bytes], object]
    rebuild: Callable[[Deployment, Connection, int, bytes], Rebuilt | None]
    loss: str


def _first_completion(
    found: Deployment, connection: Connection, partition: int, key: bytes
) -> Rebuilt | None:
    """The completion of the ledger's delivery: the first match of this (campaign, contact)."""
    campaign, _, contact = key.decode(errors="replace").rpartition("|")
    if "\0" in campaign + contact:
        return None
    row = connection.execute(
        QUERIES["first_completion"], {"campaign": campaign, "contact": contact}
    ).fetchone()
    return None if row is None else Rebuilt(str(row[0]).encode(), -1, "the ledger's delivery")


def _verdicts(found: Deployment, connection: Connection, partition: int, key: bytes) -> Rebuilt | None:
    """The contact's verdicts that their topic still has, in the order in which they were given."""
    topic = found.topology.topic("outcomes")
    source = found.topology.topic("completions")
    verdicts: dict[str, Outcome] = {}
    with TopicReader(found.settings.kafka_bootstrap_servers, topic.name, "quizstream-repair") as reader:
        bounds = reader.bounds(topic.partitions)
        starts = {each: bound.first for each, bound in bounds.items()}
        ends = {each: bound.end for each, bound in bounds.items()}
        if topic.partitions == source.partitions:  # the same key is in the same partition
            ends = {partition: ends[partition]}
        for batch in reader.read(starts, ends):
            for record in batch.records:
                if record.key == key and (outcome := _outcome(record)) is not None:
                    verdicts.setdefault(outcome.completion_id, outcome)
    if not verdicts:
        return None
    memory = ContactMemory()
    for outcome in sorted(verdicts.values(), key=lambda each: each.source_offset):
        allowed_max = found.topology.windows.remembered_per_contact_max
        memory.remember(_entry(outcome), allowed_max, LIMITED_REMEMBERED_MAX)
    return Rebuilt(encode(memory), memory.decided_to, f"{len(verdicts)} verdicts in {topic.name}")


def _outcome(record: Record) -> Outcome | None:
    try:
        return codec("outcome").decode(record.value)
    except Undecodable:
        return None  # not written by this project


def _entry(outcome: Outcome) -> Allowed | Limited:
    of = (outcome.accepted_at, outcome.completion_id, outcome.quiz_id, outcome.source_offset)
    if outcome.verdict == "limited":
        return Limited(*of, outcome.reason)
    return Allowed(*of, tuple((each.campaign_id, each.version) for each in outcome.campaigns))


def _completion_id(value: bytes) -> object:
    return UUID(value.decode())


REBUILDERS: Mapping[str, Rebuilder] = {
    "delivered": Rebuilder(
        _completion_id,
        _first_completion,
        "the first match of this campaign and contact is forgotten. Nothing is sent twice: the ledger's "
        "primary key still has the delivery, and makes a later match a duplicate",
    ),
    "contact_windows": Rebuilder(
        decode,
        _verdicts,
        "the contact's verdicts are forgotten: its windows count anew, and a completion that is read again or"
        " repeated by its client is judged again, and may match a newer campaign. The ledger still prevents a"
        " second message of a campaign",
    ),
}
UNREADABLE = (ValueError, msgspec.DecodeError)

"""Collects the input of the ledger audit from topics, tables and the provider's record.

The result is correct while everything runs, because of the order of reading:

1. the committed offsets of every stage;
2. the tables, in one snapshot;
3. the topics, to their ends.

Every row of a table is then also in the topics that were read, and everything below a committed offset must
have its result. A record above it is in flight, not missing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from ops.audit import ledger_audit as flags
from ops.audit.addresses import Addresses, plain
from ops.audit.dead_letter_audit import DeadLetterAudit
from ops.audit.ledger_audit import LedgerAudit
from ops.audit.provider_record import Call, NoRecord, ProviderRecord, attempt_of, certainly_not_sent
from ops.locate import Deployment
from pipeline.errors import OperatorError
from pipeline.runtime.record import Record
from pipeline.runtime.topic_offsets import Offsets, TopicOffsets
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.file import Retention
from pipeline.topology.model import Topic
from schemas.codec import Undecodable, codec
from sinks.postgres import offsets as sink_offsets
from sinks.postgres.connect import Connection, connect
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("reconcile.sql"))
ROWS_AT_ONCE = 10_000
STATEMENT_TIMEOUT_MS = 600_000


@dataclass(frozen=True, slots=True)
class _Passed:
    """Committed offsets: topic -> partition -> the first offset that is not processed yet."""

    stages: Offsets
    sinks: Offsets

    def by_stage(self, topic: Topic, partition: int, offset: int) -> bool:
        return offset < self.stages.get(topic.name, {}).get(partition, 0)

    def by_sink(self, topic: Topic, partition: int, offset: int) -> bool:
        return offset < self.sinks.get(topic.name, {}).get(partition, 0)


@dataclass(frozen=True, slots=True)
class Records:
    """Records of calls besides that of the deployment's own simulator.

    `simulators`: base URLs whose record is read, too. `aliases`: base URLs of numbers that lead to one
    whose record is read elsewhere. Calls from other numbers are in no record that is read.
    """

    simulators: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


OWN_RECORD = Records()


class RecordNotRead(OperatorError):
    """A record that was asked for cannot be read."""


def gather(found: Deployment, accepted_file: Path | None = None, others: Records = OWN_RECORD) -> LedgerAudit:
    """Read everything and return the audit. Raises KafkaException, psycopg.Error or RecordNotRead."""
    topology, bootstrap = found.topology, found.settings.kafka_bootstrap_servers
    group = topology.stream.group
    sources = {agent.source.name: agent.source.partitions for agent in topology.agents.values()}
    with closing(TopicOffsets(bootstrap)) as brokers:
        stages = brokers.committed(group, sources)
    audit, dead = LedgerAudit(), DeadLetterAudit(topology)
    records = _provider_records(found, others)
    early_calls = [call for record in records for call in record.more()]
    own = (found.settings.simulator_url, found.settings.simulator_smtp_url)
    recorded = {plain(url) for url in (*own, *others.simulators, *others.aliases)}
    url = found.settings.database_url
    with connect(url, "reconcile", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        sinks = {
            sink.source.name: sink_offsets.read(connection, sink.name, sink.source.name)
            for sink in topology.sinks.values()
        }
        _enter_tables(audit, dead, connection, recorded, topology.retention)
        connection.execute("COMMIT")
    if records:
        audit.provider_keeps_a_record()
    for call in early_calls:
        _enter_call(audit, call)
    for record in records:
        for call in record.more():
            _enter_call(audit, call, after_the_tables=True)
    _enter_topics(audit, dead, found, _Passed(stages, sinks))
    dead.enter(audit)
    if accepted_file is not None:
        _enter_accepted(audit, accepted_file)
    return audit


def _enter_call(audit: LedgerAudit, call: Call, after_the_tables: bool = False) -> None:
    taken = call.wamid is not None
    audit.call(attempt_of(call), taken, certainly_not_sent(call), after_the_tables)


def _provider_records(found: Deployment, others: Records) -> list[ProviderRecord]:
    records = []
    with suppress(NoRecord):
        records.append(ProviderRecord(found.settings))
    for url in others.simulators:
        try:
            records.append(ProviderRecord(found.settings, url))
        except NoRecord:
            raise RecordNotRead(f"No record of calls can be read at {url}: is it a simulator?") from None
    return records


def _enter_tables(
    audit: LedgerAudit,
    dead: DeadLetterAudit,
    connection: Connection,
    recorded: Container[str],
    kept: Retention,
) -> None:
    deleted = {campaign_id for (campaign_id,) in _rows(connection, "deleted_ledgers")}
    for (completion_id,) in _rows(connection, "completions"):
        audit.archive_row(completion_id)
    for completion_id, verdict, campaigns in _rows(connection, "outcomes"):
        audit.verdict(completion_id, verdict, flags.VERDICT_ROW)
        for campaign in campaigns:
            if campaign["campaign_id"] not in deleted:
                audit.match(completion_id, campaign["campaign_id"], flags.BY_VERDICT)
    for completion_id, campaign_id in _rows(connection, "duplicates"):
        if campaign_id not in deleted:
            audit.match(completion_id, campaign_id, flags.DUPLICATE_ROW)
    days = {"archive_days": kept.archive_days}
    for delivery_id, completion_id, campaign_id, state, has_message, archived in _rows(
        connection, "deliveries", days
    ):
        if archived and campaign_id not in deleted:
            audit.match(completion_id, campaign_id, flags.LEDGER)
        audit.delivery(delivery_id, state, has_message)
    addresses = Addresses(_rows(connection, "number_addresses"), recorded)
    for attempt_id, delivery_id, outcome, number_id, called_at, base_url in _rows(
        connection, "attempts", {"status_days": kept.provider_status_days}
    ):
        has_record = addresses.have_record(number_id, called_at, base_url)
        audit.attempt(attempt_id, delivery_id, outcome, has_record)
    for letter_id, topic, partition, offset, *letter in _rows(connection, "dead_letters"):
        dead.letter(letter_id, (topic, partition, offset), *letter)


def _rows(
    connection: Connection, query: str, parameters: dict[str, int] | None = None
) -> Iterator[tuple[Any, ...]]:
    with psycopg.ServerCursor(connection, query) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(QUERIES[query], parameters)
        yield from cursor


def _enter_topics(audit: LedgerAudit, dead: DeadLetterAudit, found: Deployment, passed: _Passed) -> None:
    topology, bootstrap = found.topology, found.settings.kafka_bootstrap_servers
    raw, outcomes = topology.topic("completions"), topology.topic("outcomes")
    scans = {
        role: TopicScan(bootstrap, topology.topic(role))
        for role in ("completions", "outcomes", "matches", "deliveries", "duplicates", "dead_letters")
    }
    audit.whole = all(scan.whole for scan in scans.values())
    for record in scans["dead_letters"].records():
        with suppress(Undecodable):
            letter = codec("dead_letter").decode(record.value or b"")
            place = (letter.source_topic, letter.source_partition, letter.source_offset)
            dead.letter(letter.dead_letter_id, place, letter.stage, letter.personal.value)
    for record in scans["completions"].records():
        where = (record.partition, record.offset)
        by_stage = passed.by_stage(raw, *where)
        dead.record(record, by_stage, passed.by_sink(raw, *where))
        try:
            completion_id = UUID(codec("completion").decode(record.value or b"").completion_id).bytes
        except Undecodable:
            if record.redriven is None:  # a redriven copy counts with its original
                audit.undecodable(*where, due=by_stage)
            continue
        due = flags.ARCHIVE_DUE if passed.by_sink(raw, *where) else 0
        due |= flags.VERDICT_DUE if by_stage else 0
        audit.completion(completion_id, flags.IN_TOPIC | due)
    for record in scans["outcomes"].records():
        _note(dead, passed, outcomes, record)
        with suppress(Undecodable):
            outcome = codec("outcome").decode(record.value or b"")
            completion_id = UUID(outcome.completion_id).bytes
            by_sink = passed.by_sink(outcomes, record.partition, record.offset)
            audit.verdict(completion_id, outcome.verdict, flags.VERDICT_ROW_DUE if by_sink else 0)
            # A verdict holds the offset of its completion; matches are published before that is committed.
            by_stage = passed.by_stage(raw, outcome.source_partition, outcome.source_offset)
            due = flags.MATCH_DUE if by_stage else 0
            for campaign in outcome.campaigns:
                audit.match(completion_id, campaign.campaign_id, flags.BY_VERDICT | due)
    _enter_matches(audit, dead, scans, passed, found)
    webhooks = topology.topic("provider_webhooks")
    for record in TopicScan(bootstrap, webhooks).records():
        _note(dead, passed, webhooks, record)


def _note(dead: DeadLetterAudit, passed: _Passed, topic: Topic, record: Record) -> None:
    where = (topic, record.partition, record.offset)
    dead.record(record, passed.by_stage(*where), passed.by_sink(*where))


def _enter_matches(
    audit: LedgerAudit, dead: DeadLetterAudit, scans: dict[str, TopicScan], passed: _Passed, found: Deployment
) -> None:
    matches, deliveries = found.topology.topic("matches"), found.topology.topic("deliveries")
    duplicates = found.topology.topic("duplicates")
    for record in scans["matches"].records():
        _note(dead, passed, matches, record)
        with suppress(Undecodable):
            match = codec("match").decode(record.value or b"")
            due = passed.by_stage(matches, record.partition, record.offset)
            flag = flags.MATCH | (flags.SPLIT_DUE if due else 0)
            audit.match(UUID(match.completion_id).bytes, match.campaign_id, flag)
    for record in scans["deliveries"].records():
        _note(dead, passed, deliveries, record)
        with suppress(Undecodable):
            match = codec("match").decode(record.value or b"")
            due = passed.by_sink(deliveries, record.partition, record.offset)
            flag = flags.FIRST | (flags.LEDGER_DUE if due else 0)
            audit.match(UUID(match.completion_id).bytes, match.campaign_id, flag)
    for record in scans["duplicates"].records():
        _note(dead, passed, duplicates, record)
        with suppress(Undecodable):
            duplicate = codec("duplicate").decode(record.value or b"")
            due = passed.by_sink(duplicates, record.partition, record.offset)
            flag = flags.REPEAT | (flags.LEDGER_DUE if due else 0)
            audit.match(UUID(duplicate.completion_id).bytes, duplicate.campaign_id, flag)


def _enter_accepted(audit: LedgerAudit, path: Path) -> None:
    for number, line in enumerate(_lines(path), 1):
        text = line.strip()
        if not text:
            continue
        try:
            audit.completion(UUID(text).bytes, flags.CLIENT)
        except ValueError:
            raise AcceptedFileInvalid(f"{path} line {number} is not a completion id: {text[:60]!r}") from None


def _lines(path: Path) -> Iterable[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except OSError as error:
        raise AcceptedFileInvalid(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise AcceptedFileInvalid(f"{path} is not UTF-8: byte {error.start + 1} cannot be decoded.") from None


class AcceptedFileInvalid(OperatorError):
    """The message is one line: what is wrong with the file of accepted ids."""

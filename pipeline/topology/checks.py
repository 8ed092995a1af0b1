"""Checks of `topology.yaml` across its sections, which types cannot express."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from pipeline.topology.file import SEGMENT_H_MAX, TopicFile, TopologyFile
from schemas.catalogue import EVENT_TYPES

DEAD_LETTER = "dead_letter"
PERSONAL_DATA_RETENTION_H_MAX = 168  # docs/guarantees.md
ENVELOPE_BYTES = 65_536  # upper bound of what an event adds to a body from outside


def problem(file: TopologyFile) -> str | None:
    """The first problem, as `place: problem`; None for a valid file."""
    return next(problems(file), None)


def problems(file: TopologyFile) -> Iterator[str]:
    dangling = list(_dangling(file))
    yield from dangling
    yield from _personal_data(file)
    if not dangling:
        yield from _topics(file)
        yield from _tables(file)
        yield from _ends(file)
        yield from _sizes(file)
    yield from _repeated("topics", "name", ((role, topic.name) for role, topic in file.topics.items()))
    yield from _repeated("sinks", "group", ((name, sink.group) for name, sink in file.sinks.items()))
    yield from _times(file)
    yield from _retention(file)
    yield from _networks(file)


def _networks(file: TopologyFile) -> Iterator[str]:
    for name in ("proxies", "trusted"):
        for text in getattr(file.edge.sources, name):
            try:
                ip_network(text)
            except ValueError as error:
                yield f"edge.sources.{name}: {error}"
    for text in file.webhooks.development_networks:
        try:
            ip_network(text)
        except ValueError as error:
            yield f"webhooks.development_networks: {error}"


def _dangling(file: TopologyFile) -> Iterator[str]:
    """References to topics and tables that are not in the file."""
    roles = [
        *((f"agents.{name}.source", agent.source) for name, agent in file.agents.items()),
        *((f"agents.{name}.outputs", role) for name, agent in file.agents.items() for role in agent.outputs),
        *(
            (f"agents.{name}.reference_data", role)
            for name, agent in file.agents.items()
            for role in agent.reference_data
        ),
        *((f"tables.{name}.changelog", table.changelog) for name, table in file.tables.items()),
        *((f"sinks.{name}.source", sink.source) for name, sink in file.sinks.items()),
        *(("edge.outputs", role) for role in file.edge.outputs),
        *(("edge.reference_data", role) for role in file.edge.reference_data),
        *(("outbox.outputs", role) for role in file.outbox.outputs),
    ]
    yield from (f'{place}: no topic "{role}"' for place, role in roles if role not in file.topics)
    tables = [
        *((f"agents.{name}.tables", table) for name, agent in file.agents.items() for table in agent.tables),
        *((f"topics.{role}.changelog_of", topic.changelog_of) for role, topic in file.topics.items()),
    ]
    yield from (
        f'{place}: no table "{table}"' for place, table in tables if table and table not in file.tables
    )


def _topics(file: TopologyFile) -> Iterator[str]:
    for role, topic in file.topics.items():
        place = f"topics.{role}"
        if topic.schema is not None and topic.schema not in EVENT_TYPES:
            yield f'{place}.schema: no event "{topic.schema}" in schemas/'
        if (topic.schema is None) == (topic.changelog_of is None):
            yield f"{place}: needs a schema, or a changelog_of, and not both"
        if topic.compact == (topic.retention_h is not None):
            yield f"{place}: needs retention_h, or compact: true, and not both"
    agents = file.agents.values()
    followed = {*file.edge.reference_data, *(role for agent in agents for role in agent.reference_data)}
    yield from (
        f"topics.{role}.compact: reference data is read from the start, so its topic must be compacted"
        for role in sorted(followed)
        if not file.topics[role].compact
    )


def _personal_data(file: TopologyFile) -> Iterator[str]:
    limit = f"personal data is kept {PERSONAL_DATA_RETENTION_H_MAX} h at most"
    for role, topic in file.topics.items():
        if topic.personal_data and (topic.retention_h or math.inf) > PERSONAL_DATA_RETENTION_H_MAX:
            yield f"topics.{role}.retention_h: {limit}"
    letters = file.dead_letters
    if letters.payload_retention_h > PERSONAL_DATA_RETENTION_H_MAX:
        yield f"dead_letters.payload_retention_h: {limit}"
    if letters.row_retention_days * 24 < letters.payload_retention_h:
        yield "dead_letters.row_retention_days: shorter than payload_retention_h"


def _retention(file: TopologyFile) -> Iterator[str]:
    """No table forgets what a record that can still come would be compared with."""
    kept = file.retention
    replayable_days = math.ceil(max(_replayable_h(file, topic) for topic in file.topics.values()) / 24)
    late_days = file.postgres.partition_past_days_max + replayable_days
    if kept.archive_days <= late_days:
        yield (
            f"retention.archive_days: must be longer than {late_days}: postgres.partition_past_days_max, "
            "and the time in which a record can come again"
        )
    for name in ("ended_campaign_days", "provider_status_days", "revoked_token_days", "webhook_message_days"):
        if getattr(kept, name) <= replayable_days:
            yield f"retention.{name}: must be longer than {replayable_days}, in which a record can come again"
    late_visit_days = math.ceil(file.edge.submitted_past_max_h / 24) + replayable_days
    if kept.visit_days <= late_visit_days:
        yield (
            f"retention.visit_days: must be longer than {late_visit_days}: edge.submitted_past_max_h, "
            "and the time in which a record can come again"
        )
    if kept.contact_days <= kept.archive_days + 1:
        yield "retention.contact_days: must be longer than archive_days by two days: completions refer to it"


def _sizes(file: TopologyFile) -> Iterator[str]:
    largest = max(file.topics[role].record_bytes_max for role in file.edge.outputs)
    body = max(file.edge.body_bytes_max, file.edge.webhook_bytes_max)
    if body + ENVELOPE_BYTES > largest:
        yield f"edge.webhook_bytes_max: {body} + {ENVELOPE_BYTES} fits no topic of edge.outputs ({largest})"
    for role, topic in file.topics.items():
        if topic.schema == DEAD_LETTER:
            others = (other.record_bytes_max for name, other in file.topics.items() if name != role)
            room = topic.record_bytes_max - ENVELOPE_BYTES
            if room < max(others, default=0):
                yield f"topics.{role}.record_bytes_max: must hold any other topic's record + {ENVELOPE_BYTES}"


def _tables(file: TopologyFile) -> Iterator[str]:
    for name, table in file.tables.items():
        if file.topics[table.changelog].changelog_of != name:
            yield f"tables.{name}.changelog: {table.changelog} is not marked changelog_of: {name}"
        owners = [agent for agent in file.agents.values() if name in agent.tables]
        if len(owners) != 1:
            yield f"tables.{name}: {len(owners)} agents have it; it needs one"
            continue
        source = file.topics[owners[0].source]
        changelog = file.topics[table.changelog]
        if changelog.partitions != source.partitions:
            yield (
                f"topics.{table.changelog}.partitions: {changelog.partitions}, "
                f"but {owners[0].source}, the agent's source, has {source.partitions}"
            )
        if not changelog.compact:
            yield f"topics.{table.changelog}.compact: a changelog is compacted"
        replayable_h = _replayable_h(file, source)
        if table.retention_h <= replayable_h:
            yield (
                f"tables.{name}.retention_h: must be longer than {replayable_h}, in which a record of "
                f"{owners[0].source} can come again: read again, redriven, or repeated by its client"
            )


def _replayable_h(file: TopologyFile, source: TopicFile) -> int:
    """How long after a record of the topic the next record about the same key can still be a repeat of it.

    A record is read as late as its topic keeps it, becomes a dead letter then, and is redriven as late as the
    dead letter's payload is kept. A client repeats what it kept. A repeat counts as the key's last record.
    """
    letters = [topic.retention_h or 0 for topic in file.topics.values() if topic.schema == DEAD_LETTER]
    kept_h = (source.retention_h or 0) + SEGMENT_H_MAX
    redriven_h = max(letters, default=0) + SEGMENT_H_MAX + file.dead_letters.payload_retention_h
    return max(kept_h + redriven_h, file.edge.submitted_past_max_h)


def _ends(file: TopologyFile) -> Iterator[str]:
    """Every topic has a writer and a reader."""
    changelogs = {table.changelog for table in file.tables.values()}
    written = {*file.edge.outputs, *file.outbox.outputs, *changelogs}
    read = {*file.edge.reference_data, *changelogs, *(sink.source for sink in file.sinks.values())}
    for agent in file.agents.values():
        written.update(agent.outputs)
        read.update((agent.source, *agent.reference_data))
    for role, topic in file.topics.items():
        if role not in written and not topic.writers:
            yield f"topics.{role}: no writer; add it to an agent's, the edge's or the outbox's outputs"
        if role not in read and not topic.readers:
            yield f"topics.{role}: no reader; give it an agent, a sink or readers"


def _repeated(section: str, key: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, value in entries:
        other = first.setdefault(value, name)
        if other != name:
            yield f"{section}.{name}.{key}: {value} is also in {section}.{other}"


def _times(file: TopologyFile) -> Iterator[str]:
    sender = file.sender
    call_ms_max = sender.call_timeout_s * 1000 + sender.mark_to_call_max_ms
    if sender.lease_s * 1000 <= call_ms_max:
        yield f"sender.lease_s: must be longer than call_timeout_s + mark_to_call_max_ms = {call_ms_max:g} ms"
    webhooks = file.webhooks
    if webhooks.lease_s <= webhooks.call_timeout_s:
        yield "webhooks.lease_s: must be longer than call_timeout_s: two processes would call at once"
    if webhooks.in_flight_of_tenant_max >= webhooks.in_flight_total_max:
        yield "webhooks.in_flight_of_tenant_max: must be less than in_flight_total_max"
    retried_h = sum(webhooks.retry_after_s) * (1 + webhooks.retry_jitter_ratio) / 3600
    if webhooks.keep_h <= retried_h:
        yield f"webhooks.keep_h: must be longer than {retried_h:g}, for which a message is retried"
    if sender.retry_base_s > sender.retry_max_s:
        yield "sender.retry_base_s: larger than retry_max_s"
    if file.edge.submitted_past_max_h > file.edge.submitted_past_max_h_service:
        yield "edge.submitted_past_max_h: larger than submitted_past_max_h_service"
    abuse = file.edge.abuse
    if not abuse.delay_points < abuse.challenge_points < abuse.block_points:
        yield "edge.abuse: delay_points, challenge_points and block_points must grow"
    if abuse.pressure_points_max >= abuse.block_points:
        yield "edge.abuse.pressure_points_max: rejections alone would block shared addresses"
    if abuse.answer_within_s <= abuse.ticket_wait_s:
        yield "edge.abuse.answer_within_s: no longer than ticket_wait_s: nobody can answer in time"
    if file.edge.ping.interval_s > file.edge.ping.interval_max_s:
        yield "edge.ping.interval_s: larger than interval_max_s"
    days_back = file.edge.submitted_past_max_h_service / 24
    if days_back > file.postgres.partition_past_days_max:
        yield (
            f"postgres.partition_past_days_max: {file.postgres.partition_past_days_max}, "
            f"but edge.submitted_past_max_h_service reaches {days_back:g} days back"
        )
    widest = max(file.windows.contact.limit, file.windows.contact_quiz.limit)
    if file.windows.remembered_per_contact_max < widest:
        yield f"windows.remembered_per_contact_max: a window of {widest} cannot be counted with fewer"

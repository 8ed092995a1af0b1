"""`topology.yaml`, read and checked: the way from a role ("completions") to a topic, a group, a limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.topology_checks import problem
from pipeline.topology_errors import TopologyError
from pipeline.topology_file import (
    Alerts,
    Campaigns,
    DeadLetters,
    Edge,
    Outbox,
    Postgres,
    Sender,
    Stream,
    TopologyFile,
    Window,
    Windows,
)
from pipeline.topology_yaml import read

__all__ = [
    "Agent",
    "Alerts",
    "Campaigns",
    "DeadLetters",
    "Edge",
    "Outbox",
    "Postgres",
    "Sender",
    "Sink",
    "Stream",
    "Table",
    "Topic",
    "Topology",
    "TopologyError",
    "Window",
    "Windows",
    "load",
]

NAMESPACE = re.compile(r"[a-zA-Z0-9._-]{0,60}")


class Topic(msgspec.Struct, frozen=True):
    """A topic of the cluster. `name` is its physical name; exactly one of `schema`, `changelog_of` is set."""

    role: str
    name: str
    key: str
    partitions: int
    retention_h: int | None
    compact: bool
    schema: str | None
    changelog_of: str | None
    personal_data: bool
    record_bytes_max: int
    readers: tuple[str, ...]


class Table(msgspec.Struct, frozen=True):
    name: str
    changelog: Topic


class Agent(msgspec.Struct, frozen=True):
    name: str
    source: Topic
    stages: tuple[str, ...]
    tables: tuple[Table, ...]
    outputs: tuple[Topic, ...]
    facts: tuple[Topic, ...]


class Sink(msgspec.Struct, frozen=True):
    """`group` is the consumer group as the cluster knows it."""

    name: str
    source: Topic
    group: str
    batch_records_max: int
    batch_wait_ms_max: int


class Topology(msgspec.Struct, frozen=True):
    """Everything that runs. Lookups raise KeyError for a role that is not in the file."""

    namespace: str
    topics: Mapping[str, Topic]
    tables: Mapping[str, Table]
    agents: Mapping[str, Agent]
    sinks: Mapping[str, Sink]
    stream: Stream
    windows: Windows
    campaigns: Campaigns
    edge: Edge
    postgres: Postgres
    outbox: Outbox
    sender: Sender
    dead_letters: DeadLetters
    alerts: Alerts

    def topic(self, role: str) -> Topic:
        return self.topics[role]

    def table(self, name: str) -> Table:
        return self.tables[name]

    def agent(self, name: str) -> Agent:
        return self.agents[name]

    def sink(self, name: str) -> Sink:
        return self.sinks[name]

    def window(self, name: str) -> Window:
        """`contact` or `contact_quiz`."""
        found = getattr(self.windows, name, None)
        if not isinstance(found, Window):
            raise KeyError(name)
        return found

    def group(self, name: str) -> str:
        """A consumer group's name in this deployment's namespace."""
        return _within(self.namespace, name)

    @property
    def record_bytes_max(self) -> int:
        """The largest record of any topic: every producer's `message.max.bytes`."""
        return max(topic.record_bytes_max for topic in self.topics.values())

    def role_of(self, topic_name: str) -> str | None:
        """The role of a physical topic name; None for a topic that is not of this deployment."""
        return next((topic.role for topic in self.topics.values() if topic.name == topic_name), None)


def load(path: Path, namespace: str = "") -> Topology:
    """Read and check the file; `namespace` is put in front of every topic and group.

    Raises TopologyError, one line with the place: `topology.yaml: agents.qualify.source: no topic "x"`.
    """
    if not NAMESPACE.fullmatch(namespace):
        raise TopologyError(f"namespace {namespace!r}: only letters, digits, '.', '_' and '-', at most 60")
    try:
        file = read(path)
        found = problem(file)
    except TopologyError as error:
        raise TopologyError(f"{path.name}: {error}") from None
    if found is not None:
        raise TopologyError(f"{path.name}: {found}")
    return _resolved(file, namespace)


def _resolved(file: TopologyFile, namespace: str) -> Topology:
    topics = {
        role: Topic(
            role=role,
            name=_within(namespace, topic.name),
            key=topic.key,
            partitions=topic.partitions,
            retention_h=topic.retention_h,
            compact=topic.compact,
            schema=topic.schema,
            changelog_of=topic.changelog_of,
            personal_data=topic.personal_data,
            record_bytes_max=topic.record_bytes_max,
            readers=topic.readers,
        )
        for role, topic in file.topics.items()
    }
    tables = {name: Table(name, topics[table.changelog]) for name, table in file.tables.items()}
    return Topology(
        namespace=namespace,
        topics=topics,
        tables=tables,
        agents={
            name: Agent(
                name=name,
                source=topics[agent.source],
                stages=agent.stages,
                tables=tuple(tables[table] for table in agent.tables),
                outputs=tuple(topics[role] for role in agent.outputs),
                facts=tuple(topics[role] for role in agent.facts),
            )
            for name, agent in file.agents.items()
        },
        sinks={
            name: Sink(
                name=name,
                source=topics[sink.source],
                group=_within(namespace, sink.group),
                batch_records_max=sink.batch_records_max,
                batch_wait_ms_max=sink.batch_wait_ms_max,
            )
            for name, sink in file.sinks.items()
        },
        stream=msgspec.structs.replace(file.stream, group=_within(namespace, file.stream.group)),
        windows=file.windows,
        campaigns=file.campaigns,
        edge=file.edge,
        postgres=file.postgres,
        outbox=file.outbox,
        sender=file.sender,
        dead_letters=file.dead_letters,
        alerts=file.alerts,
    )


def _within(namespace: str, name: str) -> str:
    return f"{namespace}{name}"

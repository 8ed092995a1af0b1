"""The topology in the form that processes use: look-up of topics, groups and limits by role."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.topology.file import (
    Alerts,
    Balancer,
    Cache,
    Campaigns,
    DeadLetters,
    Edge,
    Outbox,
    Postgres,
    Retention,
    Sender,
    Stream,
    Tenants,
    Visits,
    Webhooks,
    Window,
    Windows,
)


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
    retention_h: int


class Agent(msgspec.Struct, frozen=True):
    name: str
    source: Topic
    stages: tuple[str, ...]
    tables: tuple[Table, ...]
    outputs: tuple[Topic, ...]
    reference_data: tuple[Topic, ...]


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
    tenants: Tenants
    cache: Cache
    postgres: Postgres
    outbox: Outbox
    sender: Sender
    dead_letters: DeadLetters
    retention: Retention
    visits: Visits
    webhooks: Webhooks
    alerts: Alerts
    balancer: Balancer

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
        return within(self.namespace, name)

    @property
    def record_bytes_max(self) -> int:
        """The largest record of any topic: every producer's `message.max.bytes`."""
        return max(topic.record_bytes_max for topic in self.topics.values())

    def role_of(self, topic_name: str) -> str | None:
        """The role of a physical topic name; None for a topic of another deployment."""
        return next((topic.role for topic in self.topics.values() if topic.name == topic_name), None)


def within(namespace: str, name: str) -> str:
    """A topic's or a group's physical name in this deployment's namespace."""
    return f"{namespace}{name}"

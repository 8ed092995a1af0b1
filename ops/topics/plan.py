"""The differences between a cluster and `topology.yaml`, as typed changes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from pipeline.topology.file import SEGMENT_H_MAX
from pipeline.topology.model import Topic, Topology

HOUR_MS = 3_600_000
# Only closed segments are compacted. A changelog has a tombstone for each key that expires.
CHANGELOG_SEGMENT_BYTES = 64 << 20


class TopicState(msgspec.Struct, frozen=True):
    """A topic, actual or planned. Only the `config` keys that both sides name are compared."""

    name: str
    partitions: int
    replication_factor: int
    config: dict[str, str]


class CreateTopic(msgspec.Struct, frozen=True, tag=True):
    topic: TopicState

    def __str__(self) -> str:
        topic = self.topic
        settings = ", ".join(f"{key}={value}" for key, value in sorted(topic.config.items()))
        replicas = f"{topic.replication_factor} replica{'s' if topic.replication_factor > 1 else ''}"
        partitions = f"{topic.partitions} partition{'s' if topic.partitions > 1 else ''}"
        return f"create {topic.name}: {partitions}, {replicas}, {settings}"


class GrowPartitions(msgspec.Struct, frozen=True, tag=True):
    name: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"grow {self.name}: {self.before} to {self.after} partitions; later records of a key may move"


class ChangeConfig(msgspec.Struct, frozen=True, tag=True):
    name: str
    key: str
    before: str | None
    after: str

    def __str__(self) -> str:
        return f"change {self.name}: {self.key} from {self.before or 'nothing'} to {self.after}"


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """A change that no command makes; `reason` has the alternative."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"rejected {self.name}: {self.reason}"


Change = CreateTopic | GrowPartitions | ChangeConfig | Rejected


class Plan(msgspec.Struct, frozen=True):
    changes: tuple[Change, ...]

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        return tuple(change for change in self.changes if isinstance(change, Rejected))

    @property
    def drift(self) -> bool:
        """Whether the cluster differs from the file."""
        return bool(self.changes)

    def lines(self) -> list[str]:
        """Return one line per change."""
        return [str(change) for change in self.changes] or ["the cluster matches topology.yaml"]

    def as_json(self) -> bytes:
        """`{"drift": bool, "changes": [{"type": "CreateTopic", ...}]}`."""
        return msgspec.json.encode({"drift": self.drift, "changes": self.changes})


def wanted(topology: Topology, replication_factor: int) -> list[TopicState]:
    """Return the topics of the file with all settings that the project relies on."""
    return [
        TopicState(
            name=topic.name,
            partitions=topic.partitions,
            replication_factor=replication_factor,
            config=config(topic, replication_factor),
        )
        for topic in topology.topics.values()
    ]


def config(topic: Topic, replication_factor: int) -> dict[str, str]:
    settings = {
        # Producers continue with one replica missing, and every acknowledged record is on at least two disks.
        "min.insync.replicas": str(max(1, replication_factor - 1)),
        "unclean.leader.election.enable": "false",
        "compression.type": "producer",
        "max.message.bytes": str(topic.record_bytes_max),
        "message.timestamp.type": "CreateTime",
        "cleanup.policy": "compact" if topic.compact else "delete",
    }
    if topic.retention_h is not None:
        settings["retention.ms"] = str(topic.retention_h * HOUR_MS)
        settings["segment.ms"] = str(min(SEGMENT_H_MAX, topic.retention_h) * HOUR_MS)
    if topic.changelog_of is not None:
        settings["segment.ms"] = str(SEGMENT_H_MAX * HOUR_MS)
        settings["segment.bytes"] = str(CHANGELOG_SEGMENT_BYTES)
    return settings


def difference(
    topology: Topology, replication_factor: int, found: Mapping[str, TopicState], grow: Collection[str] = ()
) -> Plan:
    """Return the changes from `found` (by physical name) to the file; `grow`: roles that may grow."""
    stateful = _stateful(topology)
    changes: list[Change] = []
    for role, state in zip(topology.topics, wanted(topology, replication_factor), strict=True):
        actual = found.get(state.name)
        if actual is None:
            changes.append(CreateTopic(state))
            continue
        changes += _partitions(state, actual, role in stateful, role in grow, role)
        changes += _replicas(state, actual)
        changes += [
            ChangeConfig(state.name, key, actual.config.get(key), value)
            for key, value in sorted(state.config.items())
            if actual.config.get(key) != value
        ]
    return Plan(tuple(changes))


def _stateful(topology: Topology) -> set[str]:
    """Return the roles whose state depends on the partition: changelogs, sources of agents with tables."""
    sources = {agent.source.role for agent in topology.agents.values() if agent.tables}
    return sources | {table.changelog.role for table in topology.tables.values()}


def _partitions(
    state: TopicState, actual: TopicState, stateful: bool, allowed: bool, role: str
) -> Iterator[Change]:
    if actual.partitions == state.partitions:
        return
    step = f"{actual.partitions} to {state.partitions} partitions"
    if actual.partitions > state.partitions:
        yield Rejected(state.name, f"{step}: partitions cannot be removed; create a topic with a new name")
    elif stateful:
        yield Rejected(
            state.name,
            f"{step}: its keys would lose their state; create a topic with a new name",
        )
    elif not allowed:
        yield Rejected(
            state.name,
            f"{step}: keys would move and lose their order for as long as old records lie there; "
            f"where that is fine, say --grow {role}",
        )
    else:
        yield GrowPartitions(state.name, actual.partitions, state.partitions)


def _replicas(state: TopicState, actual: TopicState) -> Sequence[Change]:
    if actual.replication_factor == state.replication_factor:
        return ()
    step = f"{actual.replication_factor} to {state.replication_factor} replicas"
    return (Rejected(state.name, f"{step}: use kafka-reassign-partitions, which can be watched and stopped"),)

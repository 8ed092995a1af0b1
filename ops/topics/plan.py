"""What a cluster lacks of `topology.yaml`, as typed changes. Pure: what the cluster has is given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from pipeline.topology.model import Topic, Topology

HOUR_MS = 3_600_000
# Only closed segments are deleted: personal data outlives its retention by as much as a segment lasts.
SEGMENT_H_MAX = 24


class TopicState(msgspec.Struct, frozen=True):
    """A topic as it is, or as it should be. Of `config`, only what the other side names is compared."""

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


class Refused(msgspec.Struct, frozen=True, tag=True):
    """What the file asks for and nobody should do by a command; `reason` says what to do instead."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"refused {self.name}: {self.reason}"


Change = CreateTopic | GrowPartitions | ChangeConfig | Refused


class Plan(msgspec.Struct, frozen=True):
    changes: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Refused, ...]:
        return tuple(change for change in self.changes if isinstance(change, Refused))

    @property
    def drift(self) -> bool:
        """Whether the cluster is something else than the file says."""
        return bool(self.changes)

    def lines(self) -> list[str]:
        """For a person: a change a line."""
        return [str(change) for change in self.changes] or ["the cluster is as topology.yaml says"]

    def as_json(self) -> bytes:
        """`{"drift": bool, "changes": [{"type": "CreateTopic", ...}]}`."""
        return msgspec.json.encode({"drift": self.drift, "changes": self.changes})


def wanted(topology: Topology, replication_factor: int) -> list[TopicState]:
    """The topics of the file, with every setting that the project relies on."""
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
        # One replica may be away without stopping producers, and no acknowledged record is on one disk only.
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
    return settings


def difference(
    topology: Topology, replication_factor: int, found: Mapping[str, TopicState], grow: Collection[str] = ()
) -> Plan:
    """What makes `found` (by physical name) what the file says; `grow`: roles whose partitions may grow."""
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
    """Roles whose partition number is where state lies: changelogs, and sources of agents with tables."""
    sources = {agent.source.role for agent in topology.agents.values() if agent.tables}
    return sources | {table.changelog.role for table in topology.tables.values()}


def _partitions(
    state: TopicState, actual: TopicState, stateful: bool, allowed: bool, role: str
) -> Iterator[Change]:
    if actual.partitions == state.partitions:
        return
    step = f"{actual.partitions} to {state.partitions} partitions"
    if actual.partitions > state.partitions:
        yield Refused(state.name, f"{step}: partitions cannot be taken away; make a topic with a new name")
    elif stateful:
        yield Refused(
            state.name,
            f"{step}: its keys would leave their state behind; make a topic with a new name",
        )
    elif not allowed:
        yield Refused(
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
    return (Refused(state.name, f"{step}: use kafka-reassign-partitions, which can be watched and stopped"),)

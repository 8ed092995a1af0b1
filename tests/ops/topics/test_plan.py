"""What a cluster lacks, as typed changes; what nobody should do by a command is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from ops.topics.plan import (
    ChangeConfig,
    CreateTopic,
    GrowPartitions,
    Rejected,
    TopicState,
    difference,
    wanted,
)
from pipeline.topology.loader import load
from pipeline.topology.model import Topology

TOPOLOGY = load(Path(__file__).resolve().parents[3] / "topology.yaml")


def cluster(topology: Topology = TOPOLOGY, replicas: int = 1) -> dict[str, TopicState]:
    """A cluster that is as the file says; brokers list their own defaults, too."""
    return {
        state.name: msgspec.structs.replace(state, config={**state.config, "flush.ms": "9"})
        for state in wanted(topology, replicas)
    }


def with_partitions(role: str, partitions: int) -> dict[str, TopicState]:
    found = cluster()
    name = TOPOLOGY.topic(role).name
    found[name] = msgspec.structs.replace(found[name], partitions=partitions)
    return found


def test_a_cluster_that_is_as_the_file_says_needs_nothing() -> None:
    plan = difference(TOPOLOGY, 1, cluster())
    assert not plan.drift
    assert plan.lines() == ["the cluster matches topology.yaml"]


def test_an_empty_cluster_gets_every_topic() -> None:
    plan = difference(TOPOLOGY, 1, {})
    assert {change.topic.name for change in plan.changes if isinstance(change, CreateTopic)} == {
        topic.name for topic in TOPOLOGY.topics.values()
    }
    assert len(plan.changes) == len(TOPOLOGY.topics)


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "4")])
def test_one_replica_may_be_away_and_one_is_never_alone_with_a_record(replicas: int, in_sync: str) -> None:
    assert {state.config["min.insync.replicas"] for state in wanted(TOPOLOGY, replicas)} == {in_sync}


def test_personal_data_does_not_outlive_its_retention_by_more_than_a_day() -> None:
    states = {state.name: state.config for state in wanted(TOPOLOGY, 1)}
    for topic in TOPOLOGY.topics.values():
        if topic.personal_data:
            assert topic.retention_h is not None
            assert states[topic.name]["cleanup.policy"] == "delete"
            assert int(states[topic.name]["retention.ms"]) == topic.retention_h * 3_600_000
            assert int(states[topic.name]["segment.ms"]) <= 24 * 3_600_000


def test_a_changed_setting_is_set_back() -> None:
    found = cluster()
    name = TOPOLOGY.topic("outcomes").name
    found[name].config["retention.ms"] = "1"
    assert difference(TOPOLOGY, 1, found).changes == (
        ChangeConfig(name, "retention.ms", "1", str(720 * 3_600_000)),
    )


def test_partitions_are_never_taken_away() -> None:
    [change] = difference(TOPOLOGY, 1, with_partitions("outcomes", 9), grow=("outcomes",)).changes
    assert isinstance(change, Rejected)
    assert "9 to 8 partitions: partitions cannot be removed" in change.reason


@pytest.mark.parametrize("role", ["completions", "matches", "contact_windows_changelog"])
def test_partitions_that_state_lies_by_never_grow(role: str) -> None:
    [change] = difference(TOPOLOGY, 1, with_partitions(role, 4), grow=(role,)).changes
    assert isinstance(change, Rejected)
    assert "would lose their state" in change.reason


def test_partitions_of_keyed_records_grow_only_where_that_is_said() -> None:
    found = with_partitions("outcomes", 4)
    name = TOPOLOGY.topic("outcomes").name
    [silent] = difference(TOPOLOGY, 1, found).changes
    assert isinstance(silent, Rejected)
    assert "--grow outcomes" in silent.reason
    assert difference(TOPOLOGY, 1, found, grow=("outcomes",)).changes == (GrowPartitions(name, 4, 8),)


def test_another_number_of_replicas_is_refused() -> None:
    plan = difference(TOPOLOGY, 3, cluster(replicas=1))
    assert len(plan.rejected) == len(TOPOLOGY.topics)
    assert "1 to 3 replicas" in plan.rejected[0].reason


def test_a_plan_as_json_says_the_type_of_each_change() -> None:
    found = with_partitions("outcomes", 4)
    document = json.loads(difference(TOPOLOGY, 1, found, grow=("outcomes",)).as_json())
    assert document == {
        "drift": True,
        "changes": [
            {"type": "GrowPartitions", "name": TOPOLOGY.topic("outcomes").name, "before": 4, "after": 8}
        ],
    }

"""On a real cluster: apply makes what the file says, once; check finds drift; a refusal changes nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from ops.embedded.stack import ServerUrls
from ops.topics.command import ClusterError, apply, plan, run
from pipeline.topology.loader import load
from pipeline.topology.model import Topology

FILE = Path(__file__).resolve().parents[3] / "topology.yaml"


@pytest.fixture
def topology(namespace: str) -> Topology:
    return load(FILE, namespace)


def changed(tmp_path: Path, namespace: str, role: str, **settings: int) -> Topology:
    document = yaml.safe_load(FILE.read_text())
    document["topics"][role] |= settings
    copy = tmp_path / "topology.yaml"
    copy.write_text(yaml.safe_dump(document, sort_keys=False))
    return load(copy, namespace)


def partitions(stack: ServerUrls, topology: Topology, role: str) -> int:
    topics = AdminClient({"bootstrap.servers": stack.kafka_bootstrap}).list_topics(timeout=10).topics
    return len(topics[topology.topic(role).name].partitions)


def test_apply_makes_every_topic_and_again_changes_nothing(stack: ServerUrls, topology: Topology) -> None:
    assert run("check", topology, stack.kafka_bootstrap, 1, say=lambda _: None) == 1
    made = apply(topology, stack.kafka_bootstrap, 1)
    assert len(made.changes) == len(topology.topics)
    assert apply(topology, stack.kafka_bootstrap, 1).changes == ()
    assert run("check", topology, stack.kafka_bootstrap, 1, say=lambda _: None) == 0
    assert partitions(stack, topology, "completions") == topology.topic("completions").partitions


def test_two_starts_at_once_make_the_topics_once(stack: ServerUrls, topology: Topology) -> None:
    with ThreadPoolExecutor(2) as threads:
        starts = [threads.submit(apply, topology, stack.kafka_bootstrap, 1) for _ in range(2)]
        for start in starts:
            start.result()
    assert not plan(topology, stack.kafka_bootstrap, 1).drift


def test_a_changed_file_changes_the_cluster_and_a_refused_change_changes_nothing(
    stack: ServerUrls, topology: Topology, namespace: str, tmp_path: Path
) -> None:
    bootstrap = stack.kafka_bootstrap
    apply(topology, bootstrap, 1)

    shorter = changed(tmp_path, namespace, "outcomes", retention_h=24)
    said: list[str] = []
    assert run("plan", shorter, bootstrap, 1, as_json=True, say=said.append) == 0
    assert {change["key"] for change in json.loads(said[0])["changes"]} == {"retention.ms"}
    assert run("apply", shorter, bootstrap, 1, say=said.append) == 0
    assert not plan(shorter, bootstrap, 1).drift

    wider = changed(tmp_path, namespace, "outcomes", retention_h=48, partitions=12)
    assert run("apply", wider, bootstrap, 1, say=said.append) == 1
    assert "--grow outcomes" in said[-2] + said[-1]
    assert partitions(stack, wider, "outcomes") == 8
    assert not plan(shorter, bootstrap, 1).drift

    assert run("apply", wider, bootstrap, 1, grow=["outcomes"], say=said.append) == 0
    assert partitions(stack, wider, "outcomes") == 12
    assert not plan(wider, bootstrap, 1).drift


def test_more_replicas_than_brokers_is_said_in_one_line(stack: ServerUrls, topology: Topology) -> None:
    with pytest.raises(ClusterError, match=r"^cannot create [^\n]*$"):
        apply(topology, stack.kafka_bootstrap, 3)


def test_a_cluster_that_is_away_is_said_in_one_line(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.topics.command.REQUEST_TIMEOUT_S", 1.0)
    with pytest.raises(ClusterError, match=r"^cannot read the topics: Kafka does not answer at 127.0.0.1:1$"):
        plan(topology, "127.0.0.1:1", 1)


def test_a_role_that_is_not_in_the_file_cannot_grow(topology: Topology) -> None:
    with pytest.raises(ClusterError, match="--grow nowhere: no such topic"):
        plan(topology, "127.0.0.1:1", 1, grow=["nowhere"])

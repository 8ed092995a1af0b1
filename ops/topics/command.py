"""`quizstream topology plan|apply|check`: compares a cluster with `topology.yaml` and changes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported implicitly
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from ops.topics.plan import (
    Change,
    ChangeConfig,
    CreateTopic,
    GrowPartitions,
    Plan,
    Rejected,
    TopicState,
    difference,
)
from pipeline.errors import OperatorError
from pipeline.runtime.kafka_clients import admin_client
from pipeline.topology.model import Topology

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 15.0
SEEN_TIMEOUT_S = 30.0
SEEN_POLL_S = 0.1


class ClusterError(OperatorError):
    """A change is not possible. The message is one line: what failed, and what to do."""


def plan(topology: Topology, bootstrap: str, replication_factor: int, grow: Collection[str] = ()) -> Plan:
    """Return the changes that make the cluster match the file. Raises ClusterError if it does not answer.

    `grow`: roles whose partitions may grow; their keys then move.
    """
    unknown = sorted(set(grow) - set(topology.topics))
    if unknown:
        raise ClusterError(f"--grow {unknown[0]}: no such topic in topology.yaml")
    found = _found(_admin(bootstrap), {topic.name for topic in topology.topics.values()}, bootstrap)
    return difference(topology, replication_factor, found, grow)


def apply(topology: Topology, bootstrap: str, replication_factor: int, grow: Collection[str] = ()) -> Plan:
    """Make the cluster match the file; return the changes. A second call changes nothing.

    Returns once the brokers serve every change. Raises ClusterError before the first change if the plan
    rejects one, and at the first that the cluster rejects.
    """
    planned = plan(topology, bootstrap, replication_factor, grow)
    carry_out(planned, bootstrap)
    return planned


def carry_out(planned: Plan, bootstrap: str) -> None:
    """Make the planned changes, as `apply` does."""
    if planned.rejected:
        raise ClusterError("; ".join(str(rejected) for rejected in planned.rejected))
    admin = _admin(bootstrap)
    _create(admin, [change.topic for change in planned.changes if isinstance(change, CreateTopic)], bootstrap)
    _grow(admin, [change for change in planned.changes if isinstance(change, GrowPartitions)], bootstrap)
    _configure(admin, [change for change in planned.changes if isinstance(change, ChangeConfig)], bootstrap)
    _await_seen(admin, planned.changes, bootstrap)


def run(
    verb: str,
    topology: Topology,
    bootstrap: str,
    replication_factor: int,
    *,
    as_json: bool = False,
    grow: Collection[str] = (),
    say: Callable[[str], None] = print,
) -> int:
    """Run the verb plan, apply or check; return 1 if check finds drift or a change is rejected, else 0.

    Raises ClusterError if the cluster does not answer or rejects a change.
    """
    planned = plan(topology, bootstrap, replication_factor, grow)
    if as_json:
        say(planned.as_json().decode())
    else:
        for line in planned.lines():
            say(line)
    if verb == "apply" and not planned.rejected:
        carry_out(planned, bootstrap)
        return 0
    bad = planned.rejected if verb == "apply" else verb == "check" and planned.drift
    return 1 if bad else 0


def _admin(bootstrap: str) -> AdminClient:
    return admin_client(bootstrap, socket_timeout_ms=int(REQUEST_TIMEOUT_S * 1000), logger=log)


def _found(admin: AdminClient, names: Collection[str], bootstrap: str) -> Mapping[str, TopicState]:
    metadata = _topics(admin, bootstrap)
    present = {name: metadata[name] for name in sorted(names) if name in metadata}
    if not present:
        return {}
    asked = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, name) for name in present], request_timeout=REQUEST_TIMEOUT_S
    )
    configs = {
        # A new topic may be listed by one broker before another one has it.
        resource.name: _done(future, "read the settings", bootstrap, KafkaError.UNKNOWN_TOPIC_OR_PART)
        for resource, future in asked.items()
    }
    return {
        name: TopicState(
            name=name,
            partitions=len(topic.partitions),
            replication_factor=min(
                (len(partition.replicas) for partition in topic.partitions.values()), default=0
            ),
            config={entry.name: str(entry.value) for entry in configs[name].values()},
        )
        for name, topic in present.items()
        if configs[name] is not None
    }


def _create(admin: AdminClient, topics: list[TopicState], bootstrap: str) -> None:
    if not topics:
        return
    asked = admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions,
                replication_factor=topic.replication_factor,
                config=topic.config,
            )
            for topic in topics
        ],
        request_timeout=REQUEST_TIMEOUT_S,
    )
    for name, future in asked.items():
        # Two concurrent starts create the same topics from the same file.
        _done(future, f"create {name}", bootstrap, tolerated=KafkaError.TOPIC_ALREADY_EXISTS)


def _grow(admin: AdminClient, changes: list[GrowPartitions], bootstrap: str) -> None:
    if not changes:
        return
    asked = admin.create_partitions(
        [NewPartitions(change.name, change.after) for change in changes], request_timeout=REQUEST_TIMEOUT_S
    )
    for name, future in asked.items():
        _done(future, f"grow {name}", bootstrap)


def _configure(admin: AdminClient, changes: list[ChangeConfig], bootstrap: str) -> None:
    if not changes:
        return
    resources = []
    for name in sorted({change.name for change in changes}):
        resource = ConfigResource(ResourceType.TOPIC, name)
        for change in changes:
            if change.name == name:
                resource.add_incremental_config(
                    ConfigEntry(change.key, change.after, incremental_operation=AlterConfigOpType.SET)
                )
        resources.append(resource)
    asked = admin.incremental_alter_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    for resource, future in asked.items():
        _done(future, f"change {resource.name}", bootstrap)


def _await_seen(admin: AdminClient, changes: Sequence[Change], bootstrap: str) -> None:
    """Return once the brokers serve every change; the controller confirms before they do."""
    give_up_at = time.monotonic() + SEEN_TIMEOUT_S
    waiting = list(changes)
    while waiting:
        found = _found(admin, {_name(change) for change in waiting}, bootstrap)
        led = _partitions_led(admin, bootstrap)
        waiting = [change for change in waiting if not _seen(change, found.get(_name(change)), led)]
        if waiting and time.monotonic() > give_up_at:
            raise ClusterError(f"not seen by the brokers after {SEEN_TIMEOUT_S:g} s: {waiting[0]}")
        if waiting:
            time.sleep(SEEN_POLL_S)


def _seen(change: Change, state: TopicState | None, led: Mapping[str, int]) -> bool:
    if state is None:
        return False
    match change:
        case CreateTopic(topic):
            return led.get(topic.name, 0) >= topic.partitions
        case GrowPartitions(name=name, after=after):
            return led.get(name, 0) >= after
        case ChangeConfig(key=key, after=value):
            return state.config.get(key) == value
        case Rejected():
            return True


def _name(change: Change) -> str:
    return change.topic.name if isinstance(change, CreateTopic) else change.name


def _partitions_led(admin: AdminClient, bootstrap: str) -> dict[str, int]:
    return {
        name: sum(partition.leader >= 0 for partition in topic.partitions.values())
        for name, topic in _topics(admin, bootstrap).items()
    }


def _topics(admin: AdminClient, bootstrap: str) -> Mapping[str, Any]:
    try:
        topics: Mapping[str, Any] = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    except KafkaException as error:
        raise _cluster_error("read the topics", error, bootstrap) from None
    return topics


def _done(future: Future[Any], what: str, bootstrap: str, tolerated: int | None = None) -> Any:
    try:
        return future.result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == tolerated:
            return None
        raise _cluster_error(what, error, bootstrap) from None


def _cluster_error(what: str, error: KafkaException, bootstrap: str) -> ClusterError:
    cause: KafkaError = error.args[0]
    if cause.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):
        return ClusterError(f"cannot {what}: Kafka does not answer at {bootstrap}")
    return ClusterError(f"cannot {what}: {cause.str()}")

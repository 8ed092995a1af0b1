"""Reads and checks `topology.yaml`."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from pipeline.topology.checks import problem
from pipeline.topology.errors import TopologyError
from pipeline.topology.file import TopologyFile
from pipeline.topology.model import Agent, Sink, Table, Topic, Topology, within
from pipeline.topology.yaml_reader import read

NAMESPACE = re.compile(r"[a-zA-Z0-9._-]{0,60}")


def load(path: Path, namespace: str = "") -> Topology:
    """Read and check the file; `namespace` is the prefix of every topic and group.

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
            name=within(namespace, topic.name),
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
    tables = {
        name: Table(name, topics[table.changelog], table.retention_h) for name, table in file.tables.items()
    }
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
                reference_data=tuple(topics[role] for role in agent.reference_data),
            )
            for name, agent in file.agents.items()
        },
        sinks={
            name: Sink(
                name=name,
                source=topics[sink.source],
                group=within(namespace, sink.group),
                batch_records_max=sink.batch_records_max,
                batch_wait_ms_max=sink.batch_wait_ms_max,
            )
            for name, sink in file.sinks.items()
        },
        stream=msgspec.structs.replace(file.stream, group=within(namespace, file.stream.group)),
        windows=file.windows,
        campaigns=file.campaigns,
        edge=file.edge,
        tenants=file.tenants,
        cache=file.cache,
        postgres=file.postgres,
        outbox=file.outbox,
        sender=file.sender,
        dead_letters=file.dead_letters,
        retention=file.retention,
        visits=file.visits,
        webhooks=file.webhooks,
        alerts=file.alerts,
        balancer=file.balancer,
    )

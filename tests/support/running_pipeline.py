"""The whole pipeline for a test: real servers, every process of it real, in a corner of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql

from ops import locate
from ops.audit.ledger_audit import Report
from ops.audit.reconcile import reconcile
from ops.deployment.prepare import prepare
from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from ops.processes import table
from ops.processes.supervisor import Supervisor
from tests.support import forked
from tests.support.ports import free_ports
from tests.support.quick_topology import quick_topology

READY_TIMEOUT_S = 300.0  # a bound on a hang, not a promise
SETTLE_TIMEOUT_S = 400.0
COMMAND_TIMEOUT_S = 500.0


@dataclass(frozen=True)
class Pipeline:
    found: Deployment
    supervisor: Supervisor
    env: dict[str, str]
    sessions: threading.local = field(default_factory=threading.local)

    def quizstream(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real command, as a person would call it."""
        return forked.quizstream(arguments, self.env, COMMAND_TIMEOUT_S)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *arguments],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def settled(self, accepted: Path | None = None) -> Report:
        """The books, once nothing moves any more."""
        return reconcile(self.found, accepted, SETTLE_TIMEOUT_S)

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """In a session that is kept: a new one costs more than the query, and tests ask 20 times a second."""
        try:
            return self._session().execute(query, parameters).fetchall()
        except psycopg.OperationalError:  # the server, or the database, has been replaced meanwhile
            self.sessions.of_thread.close()
            return self._session().execute(query, parameters).fetchall()

    def _session(self) -> psycopg.Connection:
        kept: psycopg.Connection | None = getattr(self.sessions, "of_thread", None)
        if kept is None or kept.closed:
            url = self.found.settings.database_url
            kept = self.sessions.of_thread = psycopg.connect(url, options=ISO_TIMES, autocommit=True)
        return kept

    def value(self, query: str, *parameters: object) -> Any:
        return self.rows(query, *parameters)[0][0]

    def calls(self) -> list[dict[str, Any]]:
        """What the provider wrote down of every send call."""
        path = self.found.settings.home / "simulator" / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def kill(self, name: str) -> None:
        """SIGKILL, and waits until the supervisor has it back."""
        before = self.supervisor.states()[name].restarts
        self.supervisor.kill(name)
        until(lambda: self.supervisor.states()[name].restarts > before, f"{name} is started again")

    def all_ready(self) -> None:
        assert self.supervisor.wait_ready(READY_TIMEOUT_S) == []

    def rewind_everything(self) -> None:
        """Every reader reads its topic from the beginning again."""
        readers = ("worker", "postgres-sink")
        for name in readers:
            self.supervisor.pause(name)
        admin = AdminClient({"bootstrap.servers": self.found.settings.kafka_bootstrap_servers})
        topology = self.found.topology
        groups: dict[str, list[TopicPartition]] = {}
        for agent in topology.agents.values():
            groups.setdefault(topology.stream.group, []).extend(_beginnings(agent.source))
        for sink in topology.sinks.values():
            groups.setdefault(sink.group, []).extend(_beginnings(sink.source))
        for group, partitions in groups.items():
            asked = [ConsumerGroupTopicPartitions(group, partitions)]
            until(partial(_altered, admin, asked), f"group {group} lets itself be rewound")
        with psycopg.connect(self.found.settings.database_url) as connection:
            connection.execute("UPDATE sink_offsets SET next_offset = 0")
        for name in readers:
            self.supervisor.resume(name)
        self.all_ready()


def _beginnings(topic: Any) -> list[TopicPartition]:
    return [TopicPartition(topic.name, partition, 0) for partition in range(topic.partitions)]


def _altered(admin: AdminClient, asked: list[ConsumerGroupTopicPartitions]) -> bool:
    """A group whose members have just gone refuses for a moment."""
    from confluent_kafka import KafkaException

    try:
        for future in admin.alter_consumer_group_offsets(asked).values():
            future.result()
    except KafkaException:
        return False
    return True


def until(holds: Callable[[], bool], what: str, timeout_s: float = 240.0) -> None:
    """Waits for a state, not for a time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


# Of the test itself: the database has other settings.
ISO_TIMES = "-c datestyle=ISO -c timezone=UTC"
# A machine without UTF-8: no process may leave an encoding to it.
ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@contextmanager
def running_pipeline(
    urls: ServerUrls,
    home: Path,
    namespace: str,
    more_env: Mapping[str, str] = MappingProxyType({}),
    *,
    demo: bool = True,
) -> Iterator[Pipeline]:
    name = f"acceptance_{namespace.strip('.')}"
    with psycopg.connect(urls.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        # The settings of a real installation: nothing may depend on them.
        for setting, value in (("TimeZone", "America/Sao_Paulo"), ("DateStyle", "SQL, DMY")):
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                )
            )
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("QUIZSTREAM_")},
        **urls.as_env(),
        "DATABASE_URL": f"{urls.database_url.rpartition('/')[0]}/{name}",
        "QUIZSTREAM_HOME": str(home),
        "QUIZSTREAM_PORT_BASE": str(free_ports().base),
        "QUIZSTREAM_NAMESPACE": namespace,
        **ASCII_LOCALE,
        **more_env,
    }
    if "QUIZSTREAM_TOPOLOGY" not in env:
        env["QUIZSTREAM_TOPOLOGY"] = str(quick_topology(home))
    found = locate.find(env)
    effective_at_ms = prepare(found, demo=demo)
    env |= locate.as_env(found.settings)
    supervisor = Supervisor(table.specs(found.settings, env), home / "logs")
    try:
        supervisor.start()
        pipeline = Pipeline(found, supervisor, env)
        pipeline.all_ready()
        time.sleep(max(0.0, effective_at_ms / 1000 - time.time()))
        yield pipeline
    finally:
        supervisor.stop()
        with psycopg.connect(urls.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

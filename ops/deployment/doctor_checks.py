"""Checks of `doctor` beyond servers and processes: topics and tables match this code."""

from __future__ import annotations

from ops.deployment.doctor import Ailing, Check
from ops.topics import command
from pipeline.runtime.settings import Settings
from pipeline.topology import loader
from sinks.postgres.schema.migrate import applied, migrations, pending


def _topics(settings: Settings) -> str:
    wanted = loader.load(settings.topology_file, settings.topic_namespace)
    planned = command.plan(wanted, settings.kafka_bootstrap_servers, settings.replication_factor)
    if planned.drift:
        raise Ailing(f"{len(planned.lines())} differences from topology.yaml")
    return f"{len(wanted.topics)} topics as in topology.yaml"


def _tables(settings: Settings) -> str:
    wanted = migrations()
    missing = pending(wanted, applied(settings.database_url))
    if missing:
        raise Ailing(f"{len(missing)} migrations are not applied")
    return f"at migration {wanted[-1].version:04d}"


CHECKS = (
    Check("topics", _topics, "see `quizstream topology plan`, then `quizstream topology apply`", "kafka"),
    Check("tables", _tables, "run `python -m sinks.postgres.schema.migrate`", "postgres"),
)

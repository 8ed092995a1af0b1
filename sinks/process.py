"""The process `postgres-sink`: every sink, the outbox publisher and table maintenance, each in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.runtime.backoff import Backoff
from pipeline.runtime.clock import today
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from sinks.delivery.ended_campaigns import cancel_open
from sinks.delivery.webhooks.failures import Limits
from sinks.delivery.webhooks.statuses import ProviderStatuses, Waiting, WebhookDecoder
from sinks.maintenance import Maintenance
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import DeadLetters, producer
from sinks.postgres.outbox import Publisher
from sinks.postgres.partitions import Bounds, Partitions
from sinks.postgres.restore.guard import RestoreGuard
from sinks.postgres.retention.enforce import TableRetention
from sinks.postgres.runner import Decoder, Runner
from sinks.postgres.schema.migrate import connect_current
from sinks.postgres.sink import Sink
from sinks.postgres.tables.completions import Completions
from sinks.postgres.tables.dead_letter_retention import DeadLetterRetention
from sinks.postgres.tables.dead_letters import DeadLetterArchive
from sinks.postgres.tables.deliveries import Deliveries
from sinks.postgres.tables.duplicates import Duplicates
from sinks.postgres.tables.outcomes import Outcomes
from sinks.postgres.topic_reader import LogReader
from sinks.visits.visits import Visits
from sinks.workers import Work, run_alone, run_until_stopped


def works(settings: Settings, topology: Topology) -> list[Work]:
    """Return all tasks of this process, wired."""

    timeout_ms = topology.postgres.statement_timeout_ms

    def connecting(name: str) -> Callable[[], Connection]:
        return lambda: connect(settings.database_url, name, statement_timeout_ms=timeout_ms)

    def connecting_to_current_schema(name: str) -> Callable[[], Connection]:
        return lambda: connect_current(settings.database_url, name, statement_timeout_ms=timeout_ms)

    kafka = settings.kafka_bootstrap_servers
    largest = topology.record_bytes_max
    refuse = DeadLetters(producer(kafka, "quizstream-sink", largest), topology.topic("dead_letters")).refuse
    bounds = Bounds(topology.postgres.partition_past_days_max, topology.postgres.partition_days_ahead)

    def sink_work(sink: Sink[Any], decoder: Decoder[Any] | None = None) -> Work:
        plan = topology.sink(sink.name)
        runner = Runner(
            sink,
            plan,
            decoder=decoder or codec(str(plan.source.schema)),
            reader=LogReader(kafka, plan),
            connect=connecting(f"sink {sink.name}"),
            partitions=Partitions(bounds, today),
            refuse=refuse,
            backoff=Backoff(),
        )
        return Work(f"sink-{sink.name}", runner.run, lambda: runner.holding)

    outbox_producer = producer(kafka, "quizstream-outbox", largest)
    publisher = Publisher(
        topology,
        outbox_producer,
        connecting_to_current_schema("outbox publisher"),
        Backoff(),
        guard=RestoreGuard(topology, kafka),
    )
    failure_limits = Limits(topology.sender.attempts_max, topology.sender.rejected_alike_max)
    maintenance = Maintenance(
        topology.postgres,
        connecting_to_current_schema("maintenance"),
        today,
        Backoff(),
        Waiting(failure_limits),
        DeadLetterRetention(topology.dead_letters),
        TableRetention(topology.retention, today, cancel_open),
    )
    return [
        sink_work(Completions()),
        sink_work(Outcomes()),
        sink_work(Deliveries(topology.sender.route_patience_s)),
        sink_work(Duplicates()),
        sink_work(Visits()),
        sink_work(ProviderStatuses(settings.contact_key, failure_limits), WebhookDecoder()),
        sink_work(DeadLetterArchive(topology)),
        Work("outbox", publisher.run, lambda: publisher.holding),
        Work("maintenance", maintenance.run, lambda: maintenance.holding),
    ]


def main(settings: Settings) -> int:
    """Run until a signal (0); raises OperatorError where a thread fails or the topology is wrong."""
    topology = load(settings.topology_file, settings.topic_namespace)
    return run_until_stopped(works(settings, topology), settings.ports.sink_metrics)


if __name__ == "__main__":
    run_alone("postgres-sink", main)

"""The process `webhook-sender`: events become messages, and messages are sent to endpoints. Wiring only."""

from __future__ import annotations

from uuid import uuid4

from pipeline.runtime.backoff import Backoff
from pipeline.runtime.clock import today
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from sinks.outbound.maintenance import Maintenance
from sinks.outbound.messages import WebhookMessages
from sinks.outbound.queue import Queue
from sinks.outbound.sender import Sender
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import DeadLetters, producer
from sinks.postgres.partitions import Bounds, Partitions
from sinks.postgres.runner import Runner
from sinks.postgres.topic_reader import LogReader
from sinks.workers import Work, run_alone, run_until_stopped


def works(settings: Settings, topology: Topology) -> list[Work]:
    """Return all tasks of this process, wired."""
    timeout_ms = topology.postgres.statement_timeout_ms

    def connecting(name: str) -> Connection:
        return connect(settings.database_url, name, statement_timeout_ms=timeout_ms)

    sink = WebhookMessages()
    plan = topology.sink(sink.name)
    kafka = settings.kafka_bootstrap_servers
    dead_letters = DeadLetters(
        producer(kafka, "quizstream-webhooks", topology.record_bytes_max), topology.topic("dead_letters")
    )
    runner = Runner(
        sink,
        plan,
        decoder=codec(str(plan.source.schema)),
        reader=LogReader(kafka, plan),
        connect=lambda: connecting(f"sink {sink.name}"),
        partitions=Partitions(
            Bounds(topology.postgres.partition_past_days_max, topology.postgres.partition_days_ahead), today
        ),
        refuse=dead_letters.refuse,
        backoff=Backoff(),
    )
    queue = Queue(
        lambda: connecting("webhook-sender"), uuid4, disable_failing_h=topology.webhooks.disable_failing_h
    )
    sender = Sender(topology.webhooks, settings.contact_key, queue)
    maintenance = Maintenance(lambda: connecting("webhook-maintenance"), topology.webhooks)
    return [
        Work(f"sink-{sink.name}", runner.run, lambda: runner.holding),
        Work("webhook-maintenance", maintenance.run, lambda: maintenance.holding),
        Work("webhook-sender", sender.run, lambda: sender.holding),
    ]


def main(settings: Settings) -> int:
    """Run until a signal (0); raises OperatorError where a thread fails or the topology is wrong."""
    topology = load(settings.topology_file, settings.topic_namespace)
    return run_until_stopped(works(settings, topology), settings.ports.webhooks_metrics)


if __name__ == "__main__":
    run_alone("webhook-sender", main)

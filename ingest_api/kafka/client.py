"""The edge's Kafka producer: idempotent, acks=all, a delivery report for every record within a time-out."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import KafkaError, Producer

from pipeline.runtime.kafka_clients import idempotent_producer

log = logging.getLogger(__name__)

# Records that share a produce request save CPU: the client sends one request for each partition, and the
# broker's cost is per request. Completions gather while they wait for the rate limits
# (`edge.limits.gather_ms`) and are produced together, so that little more is left to gather here. While
# Valkey does not answer, nothing gathers there, and a request holds fewer records.
LINGER_MS = 3


def make_producer(
    bootstrap: str, deliver_timeout_ms: int, record_bytes_max: int, on_error: Callable[[KafkaError], None]
) -> Producer:
    return idempotent_producer(
        bootstrap,
        "edge",
        record_bytes_max=record_bytes_max,
        linger_ms=LINGER_MS,
        delivery_timeout_ms=deliver_timeout_ms,
        socket_timeout_ms=deliver_timeout_ms,
        on_error=on_error,
        logger=log,
    )

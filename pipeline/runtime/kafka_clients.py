"""Makes every confluent-kafka client of the project: the only place that writes librdkafka's property names.

| function | kind of client | used for |
|---|---|---|
| `idempotent_producer` | producer | the edge, outputs of stages, outbox, dead letters, redrive |
| `group_consumer` | member of a consumer group | sinks |
| `standalone_consumer` | consumer without a group | bounded reads, reference data, offsets |
| `admin_client` | admin client | topics: list, create, alter; probes of the embedded brokers |

What all clients share:

- They reconnect after at most `RECONNECT_MS_MAX`.
- They never create a topic: topics are made from topology.yaml.
- With a `logger` librdkafka's messages go to it. Without one it logs nothing: what fails is raised.

What all producers share: acknowledgement by all in-sync replicas, idempotence, lz4, and the partitioner of
Java's clients, so that a key lies in the same partition from every producer. `record_bytes_max` is the
topology's (`Topology.record_bytes_max`): librdkafka's own limit of 1 MB is less than a dead letter may have.

The stages consume with aiokafka, inside Faust: `pipeline.engine.app` and `pipeline.engine.consumer_thread`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka.admin import AdminClient

RECONNECT_MS_MIN = 50
# Between two attempts to reach a broker. librdkafka's default of 10 s would be added to every outage, and is
# as long as a sink waits for a delivery.
RECONNECT_MS_MAX = 500
PARTITIONER = "murmur2_random"
SESSION_TIMEOUT_MS = 10_000  # after a kill the next member of the group waits this long for the partitions
RECORD_OVERHEAD_BYTES = 512  # upper bound of what Kafka adds to a record's key and value
POLL_INTERVAL_MS_MAX = 300_000  # far above a statement's time-out: a slow batch does not lose its partitions
QUEUED_KBYTES_MAX = 16_384  # fetched ahead by one consumer, over all its partitions
STATISTICS_INTERVAL_MS = 2_000

Properties = dict[str, Any]


def idempotent_producer(
    bootstrap_servers: str,
    client_id: str,
    *,
    record_bytes_max: int,
    linger_ms: int,
    delivery_timeout_ms: int,
    socket_timeout_ms: int | None = None,
    batch_bytes_max: int | None = None,
    queue_records_max: int | None = None,
    queue_kbytes_max: int | None = None,
    on_error: Callable[[KafkaError], None] | None = None,
    logger: logging.Logger | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Producer:
    """A producer that keeps the order of each partition and writes no record twice by its own retries.

    A record is reported as failed after `delivery_timeout_ms`. `on_error` is called for errors of the
    connection, from the thread that polls. `extra` replaces properties, for tests. None leaves librdkafka's
    default.
    """
    from confluent_kafka import Producer

    properties = _shared(bootstrap_servers, logger) | {
        "client.id": client_id,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": PARTITIONER,
        "compression.type": "lz4",
        "linger.ms": linger_ms,
        "delivery.timeout.ms": delivery_timeout_ms,
        "message.max.bytes": record_bytes_max,
    }
    optional = {
        "socket.timeout.ms": socket_timeout_ms,
        "batch.size": batch_bytes_max,
        "queue.buffering.max.messages": queue_records_max,
        "queue.buffering.max.kbytes": queue_kbytes_max,
        "error_cb": on_error,
    }
    properties |= {name: value for name, value in optional.items() if value is not None}
    properties |= extra or {}
    return Producer(properties) if logger is None else Producer(properties, logger=logger)


def group_consumer(
    bootstrap_servers: str,
    group: str,
    client_id: str,
    *,
    fetch_bytes_min: int,
    fetch_wait_ms: int,
    on_statistics: Callable[[str], None] | None = None,
    logger: logging.Logger | None = None,
) -> Consumer:
    """A member of `group` that commits nothing by itself.

    An offset out of range is an error: it is data loss. The broker answers a fetch once it has
    `fetch_bytes_min` or after `fetch_wait_ms`. `on_statistics` receives librdkafka's statistics as JSON, from
    the thread that polls.
    """
    properties = _consuming(bootstrap_servers, group, logger) | {
        "client.id": client_id,
        "auto.offset.reset": "error",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "max.poll.interval.ms": POLL_INTERVAL_MS_MAX,
        "fetch.min.bytes": fetch_bytes_min,
        "fetch.wait.max.ms": fetch_wait_ms,
    }
    if on_statistics is not None:
        properties |= {"statistics.interval.ms": STATISTICS_INTERVAL_MS, "stats_cb": on_statistics}
    return _consumer(properties, logger)


def standalone_consumer(
    bootstrap_servers: str,
    client_id: str,
    *,
    group: str | None = None,
    from_earliest: bool = False,
    fetch_bytes_max: int | None = None,
    fetch_wait_ms: int | None = None,
    logger: logging.Logger | None = None,
) -> Consumer:
    """A consumer that joins no group and commits nothing. It reports the end of each partition as an event.

    `group` is a group whose committed offsets are read; librdkafka requires a name in any case.
    `from_earliest` reads on from the first record where the requested offset is out of range; otherwise that
    is an error. With `fetch_bytes_max` little is fetched ahead: for readers of single records.
    """
    properties = _consuming(bootstrap_servers, group or f"{client_id}.none", logger) | {
        "client.id": client_id,
        "auto.offset.reset": "earliest" if from_earliest else "error",
        "enable.partition.eof": True,
    }
    if fetch_bytes_max is not None:
        properties |= {"fetch.message.max.bytes": fetch_bytes_max, "queued.min.messages": 1}
    if fetch_wait_ms is not None:
        properties["fetch.wait.max.ms"] = fetch_wait_ms
    return _consumer(properties, logger)


def admin_client(
    bootstrap_servers: str, *, socket_timeout_ms: int | None = None, logger: logging.Logger | None = None
) -> AdminClient:
    """A client for topics and groups. `ops.topics` says why it is not used for offsets."""
    from confluent_kafka.admin import AdminClient

    properties = _shared(bootstrap_servers, logger)
    if socket_timeout_ms is not None:
        properties["socket.timeout.ms"] = socket_timeout_ms
    return AdminClient(properties) if logger is None else AdminClient(properties, logger=logger)


def _shared(bootstrap_servers: str, logger: logging.Logger | None) -> Properties:
    properties: Properties = {
        "bootstrap.servers": bootstrap_servers,
        "reconnect.backoff.ms": RECONNECT_MS_MIN,
        "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
        "allow.auto.create.topics": False,
    }
    return properties if logger is not None else properties | {"log_level": 0}


def _consuming(bootstrap_servers: str, group: str, logger: logging.Logger | None) -> Properties:
    return _shared(bootstrap_servers, logger) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "queued.max.messages.kbytes": QUEUED_KBYTES_MAX,
    }


def _consumer(properties: Properties, logger: logging.Logger | None) -> Consumer:
    from confluent_kafka import Consumer

    return Consumer(properties) if logger is None else Consumer(properties, logger=logger)

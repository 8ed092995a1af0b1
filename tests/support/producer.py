"""A producer for what tests put into topics by hand."""

from __future__ import annotations

from functools import lru_cache

from confluent_kafka import Producer

DELIVERED_WITHIN_S = 120.0  # a bound on a hang, not a promise


def make_producer(bootstrap: str, **settings: str | int) -> Producer:
    """Keys go where those of the product go, and partitions keep the order in which records were produced.

    Without idempotence librdkafka puts a batch that has to be sent again behind those after it. The first
    of a topic sometimes has to: its leader does not know yet that it is one.
    """
    return _new(bootstrap, **settings) if settings else _kept(bootstrap)


@lru_cache(maxsize=2)  # of the shared broker, and of one of a test's own
def _kept(bootstrap: str) -> Producer:
    """An idempotent producer waits more than half a second for its id."""
    return _new(bootstrap, log_level=0)  # it outlives its broker, at the end of a run


def _new(bootstrap: str, **settings: str | int) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            **settings,
        }
    )


def delivered(producer: Producer) -> None:
    """Until the brokers have acknowledged everything that was produced."""
    left = producer.flush(DELIVERED_WITHIN_S)
    assert left == 0, f"{left} records were not acknowledged"

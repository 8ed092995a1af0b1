"""A producer for what tests put into topics by hand."""

from __future__ import annotations

from confluent_kafka import Producer


def make_producer(bootstrap: str, **settings: str | int) -> Producer:
    """Keys go where those of the product go, and partitions keep the order in which records were produced.

    Without idempotence librdkafka puts a batch that has to be sent again behind those after it. The first
    of a topic sometimes has to: its leader does not know yet that it is one.
    """
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            **settings,
        }
    )

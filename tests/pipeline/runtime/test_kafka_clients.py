"""Clients of Kafka are made in one module, and share what all of them must have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from pipeline.runtime.kafka_clients import (
    admin_client,
    group_consumer,
    idempotent_producer,
    standalone_consumer,
)

ROOT = Path(__file__).resolve().parents[3]
HOME = ROOT / "pipeline" / "runtime" / "kafka_clients.py"
SOURCES = ("schemas", "pipeline", "ingest_api", "sinks", "ops", "benchmarks")
# Programs that are measured beside this one: their clients are theirs.
EXEMPT = ROOT / "benchmarks" / "peers"
RAW_PROPERTY = re.compile(
    r'"(bootstrap\.servers|group\.id|enable\.auto\.commit|auto\.offset\.reset|acks|enable\.idempotence'
    r'|linger\.ms|message\.max\.bytes|delivery\.timeout\.ms|partitioner|session\.timeout\.ms)"'
)
NOWHERE = "127.0.0.1:1"


def test_no_other_module_writes_properties_of_librdkafka() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != HOME and EXEMPT not in path.parents
        for match in RAW_PROPERTY.finditer(path.read_text())
    ]

    assert found == []


def test_librdkafka_accepts_every_property() -> None:
    producer = idempotent_producer(
        NOWHERE,
        "test",
        record_bytes_max=2_000_000,
        linger_ms=1,
        delivery_timeout_ms=1_000,
        socket_timeout_ms=1_000,
        batch_bytes_max=100_000,
        queue_records_max=1_000,
        queue_kbytes_max=1_000,
        on_error=lambda _error: None,
    )
    producer.flush(0)
    group_consumer(
        NOWHERE, "group", "test", fetch_bytes_min=1, fetch_wait_ms=10, on_statistics=lambda _json: None
    ).close()
    standalone_consumer(NOWHERE, "test", from_earliest=True, fetch_bytes_max=65_536, fetch_wait_ms=10).close()
    admin_client(NOWHERE, socket_timeout_ms=1_000)


def test_extra_properties_replace_those_of_the_function() -> None:
    with pytest.raises(KafkaException, match="acks"):
        idempotent_producer(
            NOWHERE,
            "test",
            record_bytes_max=1_000,
            linger_ms=1,
            delivery_timeout_ms=1_000,
            extra={"acks": "1"},  # contradicts idempotence: librdkafka rejects it
        )

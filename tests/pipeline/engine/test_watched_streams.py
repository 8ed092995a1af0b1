"""Which partitions are watched for a stream that stands still: Faust alone complains of every changelog."""

from types import SimpleNamespace

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.engine.transport import Consumer


def test_only_what_a_stream_reads_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[TP] = []
    monkeypatch.setattr(driver.Consumer, "verify_event_path", lambda _self, _now, tp: watched.append(tp))
    consumer = Consumer.__new__(Consumer)
    monkeypatch.setattr(
        consumer, "batch_app", SimpleNamespace(batch_topics=frozenset({"source"})), raising=False
    )

    for topic in ("source", "changelog"):
        consumer.verify_event_path(0.0, TP(topic, 0))

    assert watched == [TP("source", 0)]

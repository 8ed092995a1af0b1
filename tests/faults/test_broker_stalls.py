"""Whoever asks the brokers for positions outlives a broker that stands still, dies and comes back."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from ops.chaos.machine.servers import Servers
from ops.embedded.home import Home
from tests.support.ports import free_ports
from tests.support.processes import python, wait_until

ASKING = """
import sys, time
from confluent_kafka import KafkaException
from pipeline.runtime.topic_offsets import TopicOffsets

brokers = TopicOffsets(sys.argv[1])
while True:
    try:
        where = brokers.committed("a-group", {"events": 4}), brokers.begins({"events": 4})
        print("answered", brokers.ends({"events": 4})["events"][0], flush=True)
    except KafkaException as error:
        print("no answer:", error.args[0].name(), flush=True)
    time.sleep(0.1)
"""
STALL_S = 6.0  # longer than the broker's own session with its controller: leader and coordinator move


@pytest.mark.full
@pytest.mark.timeout(300)
def test_positions_are_answered_again_after_a_stall_and_a_kill(tmp_path: Path) -> None:
    servers = Servers(Home(tmp_path / "home"), free_ports(), print)
    try:
        servers.kafka.start()
        bootstrap = servers.kafka.bootstrap
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic("events", 4, 1)])["events"].result(30)
        asking = python(ASKING, bootstrap)
        said: list[str] = []
        os.set_blocking(asking.stdout.fileno(), False)  # type: ignore[union-attr]

        def hears(what: str) -> bool:
            said.extend(iter(asking.stdout.readline, ""))  # type: ignore[union-attr]
            return bool(said) and re.match(what, said[-1]) is not None

        wait_until(lambda: hears("answered"), "a first answer")
        servers.freeze_broker(1, STALL_S)
        said.clear()
        wait_until(lambda: hears("answered"), "an answer after the stall")
        servers.kafka.kill_broker(1)
        time.sleep(1.0)
        servers.kafka.start_broker(1)
        said.clear()
        wait_until(lambda: hears("answered"), "an answer after the kill")
        assert asking.poll() is None
        asking.send_signal(signal.SIGKILL)
        asking.wait()
    finally:
        servers.stop()

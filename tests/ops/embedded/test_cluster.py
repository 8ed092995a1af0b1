"""Three brokers in one home: any one of them may go, no two; and they end with their owner like one does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ops.embedded.home import Home
from ops.embedded.stack import DATABASE_ENV, KAFKA_ENV, REDIS_ENV, EmbeddedStack, ServerUrls
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports
from pipeline.runtime.settings import Settings
from tests.support.ports import free_ports
from tests.support.processes import descendants, still_there, wait_until
from tests.support.producer import delivered, make_producer

HEAP_MIB = 384
ONLY_KAFKA = {DATABASE_ENV: "not started", REDIS_ENV: "not started"}
TOPIC = "notes"
ON_ITS_WAY_S = 0.5  # for what was acknowledged before the kill and not yet told
ALONE_S = 3.0  # long enough for an acknowledgement that must not come


@dataclass
class Writer:
    """Writes one record after the other, each to all in-sync replicas; what was acknowledged, by its text."""

    bootstrap: str
    acknowledged: set[str] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def writing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._write)
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            thread.join()

    def goes_on(self) -> None:
        """Returns once more is acknowledged that was not written before."""
        so_far = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) > so_far + 50, "an acknowledgement")

    def _write(self) -> None:
        producer = make_producer(self.bootstrap, log_level=0, **{"message.timeout.ms": 120_000})
        number = 0
        while not self.stopping.wait(0.02):
            producer.produce(TOPIC, str(number), str(number % 10), on_delivery=self._reported)
            producer.poll(0)
            number += 1
        delivered(producer)

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged.add(bytes(message.value() or b"").decode())


def in_topic(bootstrap: str) -> list[str]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reads-all", "log_level": 0})
    try:
        places = [TopicPartition(TOPIC, partition, 0) for partition in range(3)]
        ends = sum(consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
        consumer.assign(places)
        found: list[str] = []
        while len(found) < ends:
            found += [bytes(message.value() or b"").decode() for message in consumer.consume(500, 0.1)]
        return found
    finally:
        consumer.close()


@pytest.fixture
def home(stack: ServerUrls) -> Iterator[Path]:
    """`stack` is asked for only because it says whether servers can start here at all."""
    folder = Path(tempfile.mkdtemp(prefix="quizstream-cluster-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run_in_foreground(home: Path, ports: Ports) -> tuple[subprocess.Popen[str], str]:
    """A cluster of an owner of its own, once it serves, and its bootstrap addresses."""
    owner = subprocess.Popen(
        [
            *(sys.executable, "-m", "ops.embedded", "--home", str(home), "--port-base", str(ports.base)),
            *("--brokers", "3", "--kafka-heap-mib", str(HEAP_MIB)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env={key: value for key, value in os.environ.items() if key != KAFKA_ENV} | ONLY_KAFKA,
    )
    assert owner.stdout is not None
    return owner, owner.stdout.readline().strip().partition("=")[2].strip("'")


@pytest.mark.full
def test_three_brokers_end_with_their_owner_and_go_on_without_any_one_of_them(home: Path) -> None:
    owner, bootstrap = run_in_foreground(home, free_ports())
    assert len(bootstrap.split(",")) == 3
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, 3)])[TOPIC].result(60)
    before = Writer(bootstrap)
    with before.writing():
        before.goes_on()
    servers = descendants(owner.pid)
    assert {server.pid for server in servers if server.name() == "java"} == told_pids(home)
    owner.kill()
    owner.communicate()
    assert still_there(servers) == []

    # The same home, on other ports, without having to be told how many they were.
    elsewhere = free_ports()
    stack = EmbeddedStack(home, elsewhere, env=ONLY_KAFKA, kafka_heap_mib=HEAP_MIB)
    with stack as urls:
        assert before.acknowledged <= set(in_topic(urls.kafka_bootstrap))
        told = {"QUIZSTREAM_HOME": str(home), "QUIZSTREAM_PORT_BASE": str(elsewhere.base)}
        settings = Settings.from_env(told)
        assert settings.kafka_bootstrap_servers == urls.kafka_bootstrap
        assert settings.replication_factor == 3
        loses_and_regains_its_brokers(stack, urls.kafka_bootstrap, home)
        brokers = [psutil.Process(pid) for pid in stack.pids.values()]
    assert still_there(brokers) == []


def told_pids(home: Path) -> set[int]:
    return set(json.loads(Home(home).servers_file.read_text()).values())


def loses_and_regains_its_brokers(stack: EmbeddedStack, bootstrap: str, home: Path) -> None:
    writer = Writer(bootstrap)
    with writer.writing():
        writer.goes_on()
        controller = stack.controller_id()
        assert controller is not None
        follower, other = {1, 2, 3} - {controller}

        stack.kill_broker(follower)
        assert set(stack.pids) == {f"kafka-{node_id}" for node_id in (controller, other)}
        assert told_pids(home) == set(stack.pids.values())
        writer.goes_on()
        stack.start_broker(follower)

        stack.kill_broker(controller)
        wait_until(lambda: stack.controller_id() in (follower, other), "another controller")
        writer.goes_on()
        stack.start_broker(controller)
        wait_until(lambda: all_in_sync(bootstrap), "every replica to catch up")

        survivor = stack.controller_id()
        for gone in ({1, 2, 3} - {survivor}, {1, 2, 3}):
            stack.kill_broker(*gone)
            wait_until(lambda: stack.controller_id() is None, "the last controller to resign")
            time.sleep(ON_ITS_WAY_S)
            acknowledged = len(writer.acknowledged)
            time.sleep(ALONE_S)
            assert len(writer.acknowledged) == acknowledged
            stack.start_broker(*gone)
            writer.goes_on()
            wait_until(lambda: all_in_sync(bootstrap), "every replica to catch up")
    found = in_topic(bootstrap)
    assert writer.acknowledged <= set(found)


def all_in_sync(bootstrap: str) -> bool:
    topics = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=10).topics
    return all(
        len(partition.isrs) == 3 for topic in topics.values() for partition in topic.partitions.values()
    )


@pytest.mark.parametrize(("made_for", "asked"), [(3, 1), (1, 3), (None, 2)])
def test_a_home_keeps_the_number_it_was_made_for(tmp_path: Path, made_for: int | None, asked: int) -> None:
    if made_for is not None:
        Home(tmp_path).remember_brokers(made_for)
    with pytest.raises(CannotStart) as refused:
        EmbeddedStack(tmp_path, free_ports(), env=ONLY_KAFKA, brokers=asked).start()
    assert "\n" not in refused.value.message
    assert "broker" in refused.value.message


def test_a_home_from_before_it_said_so_has_one_broker(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    assert Home(tmp_path).brokers(None) == 1
    with pytest.raises(CannotStart, match="was made for 1 broker"):
        Home(tmp_path).brokers(3)


def test_brokers_cannot_be_asked_for_where_kafka_is_given(tmp_path: Path) -> None:
    given = {**ONLY_KAFKA, KAFKA_ENV: "127.0.0.1:1"}
    with pytest.raises(CannotStart, match=KAFKA_ENV):
        EmbeddedStack(tmp_path, free_ports(), env=given, brokers=3).start()

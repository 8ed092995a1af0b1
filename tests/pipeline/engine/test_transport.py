"""A stage with state on a real broker: every record counts once, whatever happens to its workers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ops.embedded.stack import ServerUrls
from pipeline.engine.app import EXIT_UNRECOVERABLE
from pipeline.engine.envelope import payload, seal, source_offset
from tests.support.counting_worker import COUNT
from tests.support.producer import delivered, make_producer

CHECKOUT = Path(__file__).resolve().parents[3]
PARTITIONS = 4
KEYS = 37
WAIT_S = 60.0


class Counting:
    """Topics of one test, what was written to them, and the workers on them."""

    def __init__(self, bootstrap: str, namespace: str, folder: Path) -> None:
        self.bootstrap = self._bootstrap = bootstrap
        self._folder = folder
        self.group, self.source = f"{namespace}group", f"{namespace}source"
        self.changelog, self.dead_letters = f"{namespace}changelog", f"{namespace}dead"
        self._workers: list[subprocess.Popen[bytes]] = []
        self.sent: Counter[bytes] = Counter()
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        topics = [
            NewTopic(self.source, PARTITIONS, 1),
            NewTopic(self.changelog, PARTITIONS, 1, config={"cleanup.policy": "compact"}),
            NewTopic(self.dead_letters, 1, 1),
        ]
        for future in self.admin.create_topics(topics).values():
            future.result()

    def send(self, count: int, value: bytes = b"v") -> None:
        producer = make_producer(self._bootstrap)
        for number in range(count):
            key = b"key-%d" % (number % KEYS)
            producer.produce(self.source, value, key)
            self.sent[key] += value == b"v"
        delivered(producer)

    def start(self, name: str = "a", crash_points: str = "", *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.support.counting_worker", f"--bootstrap={self._bootstrap}"]
        command += [f"--group={self.group}", f"--source={self.source}", f"--changelog={self.changelog}"]
        command += [f"--dead-letters={self.dead_letters}", f"--partitions={PARTITIONS}"]
        with self.log_of(name).open("ab") as log:
            worker = subprocess.Popen(
                [*command, f"--datadir={self._folder / name}", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=CHECKOUT,
                env={**os.environ, "QUIZSTREAM_CRASH_POINTS": crash_points},
            )
        self._workers.append(worker)
        return worker

    def log_of(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def committed(self) -> list[int]:
        tps = [TopicPartition(self.source, partition) for partition in range(PARTITIONS)]
        answer = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group, tps)])
        (future,) = answer.values()
        return [max(0, tp.offset) for tp in future.result().topic_partitions]

    def ends(self, topic: str, partitions: int = PARTITIONS) -> list[int]:
        consumer = self._consumer()
        ends = [
            consumer.get_watermark_offsets(TopicPartition(topic, partition))[1]
            for partition in range(partitions)
        ]
        consumer.close()
        return ends

    def wait_until_committed(self) -> None:
        ends = self.ends(self.source)
        wait(lambda: self.committed() == ends, "everything is committed")

    def counts(self) -> dict[bytes, int]:
        """What the changelog says: of each key the value with the highest source offset."""
        newest: dict[bytes, tuple[int, int]] = {}
        for key, value in self._read(self.changelog, PARTITIONS):
            count, _ = COUNT.unpack(payload(value))
            newest[key] = max(newest.get(key, (-1, 0)), (source_offset(value), count))
        return {key: count for key, (_, count) in newest.items()}

    def dead(self) -> list[bytes]:
        return [*{value for _, value in self._read(self.dead_letters, 1)}]

    def _read(self, topic: str, partitions: int) -> Iterator[tuple[bytes, bytes]]:
        consumer = self._consumer()
        left = sum(self.ends(topic, partitions))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        deadline_s = time.monotonic() + WAIT_S
        while left and time.monotonic() < deadline_s:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                left -= 1
                yield message.key() or b"", message.value() or b""
        consumer.close()
        assert not left

    def _consumer(self) -> Consumer:
        return Consumer(
            {"bootstrap.servers": self._bootstrap, "group.id": "reader", "enable.auto.commit": False}
        )

    def end(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {WAIT_S} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def counting(stack: ServerUrls, namespace: str, tmp_path: Path) -> Iterator[Counting]:
    made = Counting(stack.kafka_bootstrap, namespace, tmp_path)
    yield made
    made.end()


def test_killed_between_delivery_and_write_every_record_counts_once(counting: Counting) -> None:
    counting.send(1000)
    assert counting.start(crash_points="stream.delivered:kill:3").wait(WAIT_S) == -signal.SIGKILL
    counting.send(500)
    assert counting.start(crash_points="stream.written:kill:3").wait(WAIT_S) == -signal.SIGKILL

    counting.start()
    counting.wait_until_committed()

    assert counting.counts() == counting.sent


def test_what_arrives_before_the_flow_is_resumed_is_not_lost(counting: Counting) -> None:
    """Faust resumes the flow once more after it has set the positions, and empties the queues with it."""
    counting.send(1000)
    assert counting.start(crash_points="stream.delivered:kill:3").wait(WAIT_S) == -signal.SIGKILL

    counting.start("a", "", "--late-after-seek")
    counting.wait_until_committed()

    assert counting.counts() == counting.sent


def test_a_table_whose_files_are_gone_comes_back_from_its_changelog(
    counting: Counting, tmp_path: Path
) -> None:
    counting.send(1000)
    worker = counting.start()
    counting.wait_until_committed()
    worker.terminate()
    assert worker.wait(WAIT_S) == 0
    shutil.rmtree(tmp_path / "a" / "v1" / "tables")

    counting.send(500)
    counting.start()
    counting.wait_until_committed()

    assert counting.counts() == counting.sent


def test_tables_follow_their_partitions_from_worker_to_worker(counting: Counting) -> None:
    counting.send(1000)
    first = counting.start("a")
    counting.wait_until_committed()
    counting.start("b")
    wait(lambda: b"Worker ready" in counting.log_of("b").read_bytes(), "the second worker has joined")
    counting.send(1000)
    counting.wait_until_committed()
    first.terminate()
    assert first.wait(WAIT_S) == 0
    counting.send(1000)
    counting.wait_until_committed()

    assert counting.counts() == counting.sent


def test_a_stopped_worker_does_no_harm_when_it_goes_on(counting: Counting) -> None:
    counting.send(1000)
    first = counting.start("a", crash_points="stream.processed:stop:4")
    wait(lambda: _state(first) == "T", "the first worker stopped with a chunk in hand")
    counting.start("b")
    counting.wait_until_committed()
    counting.send(1000)
    counting.wait_until_committed()

    first.send_signal(signal.SIGCONT)
    counting.send(1000)
    counting.wait_until_committed()
    wait(lambda: b"Worker ready" in counting.log_of("b").read_bytes(), "the group is whole again")
    counting.send(1000)
    counting.wait_until_committed()

    assert counting.counts() == counting.sent


def _state(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_bad_record_and_a_lethal_one_go_to_the_dead_letters_and_the_rest_counts(counting: Counting) -> None:
    counting.send(200)
    counting.send(1, b"bad")
    counting.send(200)
    counting.send(1, b"lethal")
    counting.send(200)
    deaths = 0
    while counting.committed() != counting.ends(counting.source):
        worker = counting.start()
        while worker.poll() is None and counting.committed() != counting.ends(counting.source):
            time.sleep(0.2)
        deaths += worker.poll() == -signal.SIGKILL
        assert deaths <= 3

    assert deaths == 3
    raised, lethal = sorted(letter.partition(b" ")[2] for letter in counting.dead())
    assert raised.startswith(b"ValueError at counting_worker.py:")
    assert lethal == b"the process died 3 times with this record in flight"
    assert counting.counts() == counting.sent


def test_a_changelog_record_that_cannot_be_read_stops_the_process_until_its_key_is_written_again(
    counting: Counting, tmp_path: Path
) -> None:
    counting.send(1000)
    worker = counting.start()
    counting.wait_until_committed()
    worker.terminate()
    assert worker.wait(WAIT_S) == 0
    producer = make_producer(counting.bootstrap)
    offset = counting.ends(counting.changelog)[2]
    producer.produce(counting.changelog, b"\xff\xff", b"a key of its own", partition=2)
    producer.produce(counting.changelog, seal(0, COUNT.pack(0, -1)), b"another key", partition=2)
    delivered(producer)

    for name in ("a", "fresh"):  # with and without the table's files; twice, so that nothing is passed over
        for _ in range(2):
            assert counting.start(name).wait(WAIT_S) == EXIT_UNRECOVERABLE
        lines = counting.log_of(name).read_text().splitlines()
        said = [line for line in lines if "cannot be read" in line]
        assert len(said) == 2
        assert f"changelog {counting.changelog} partition 2 offset {offset} cannot be read" in said[0]
        assert "quizstream state repair --topic" in said[0]

    producer.produce(counting.changelog, None, b"a key of its own", partition=2)
    delivered(producer)
    counting.send(500)
    counting.start("fresh")
    counting.wait_until_committed()
    assert (
        "CRITICAL"
        not in counting.log_of("fresh").read_text().rpartition("cannot be read")[2].partition("\n")[2]
    )


def test_a_position_that_the_broker_does_not_hold_stops_the_process_with_one_clear_line(
    counting: Counting,
) -> None:
    counting.send(400)
    worker = counting.start()
    counting.wait_until_committed()
    worker.terminate()
    assert worker.wait(WAIT_S) == 0
    counting.send(400)
    ends = [TopicPartition(counting.source, p, end) for p, end in enumerate(counting.ends(counting.source))]
    for future in counting.admin.delete_records(ends).values():
        future.result()

    assert counting.start().wait(WAIT_S) == EXIT_UNRECOVERABLE

    (line,) = [line for line in counting.log_of("a").read_text().splitlines() if "data loss" in line]
    assert counting.source in line


def test_a_missing_topic_stops_the_process_with_one_clear_line(counting: Counting) -> None:
    missing = counting.changelog = f"{counting.changelog}-missing"

    assert counting.start().wait(WAIT_S) == EXIT_UNRECOVERABLE

    (line,) = [line for line in counting.log_of("a").read_text().splitlines() if "is missing" in line]
    assert missing in line
    assert "quizstream topology apply" in line

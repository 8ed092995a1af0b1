"""The worker as a process on a real broker: its verdicts, and what a kill or a rewind does to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from confluent_kafka.admin import AdminClient

from ops.embedded.stack import ServerUrls
from ops.topics.command import apply
from pipeline.runtime.ports import Ports
from pipeline.runtime.topic_offsets import TopicOffsets
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from schemas.ids import campaign_key, completion_id
from schemas.records import Campaign, Completion, Condition, Question, Quiz, Variable
from tests.support.forked import PROCESSES, Forked, start
from tests.support.ports import free_ports
from tests.support.producer import delivered, make_producer
from tests.support.quick_topology import quick_topology
from tests.support.stage_events import NOON_MS, campaign, completion

CHECKOUT = Path(__file__).resolve().parents[2]
WAIT_S = 90.0
CONTACTS = 60
COMPLETIONS = 600

EVERYBODY = campaign("everybody", variables=(Variable("title", "quiz.title"), Variable("points", "score")))
GOOD = campaign("good", conditions=(Condition("score", "gte", [8.0]), Condition("answers.q", "eq", ["yes"])))
ENDED = campaign("ended", ends_at=NOON_MS)
TITLE = "A quiz"


def made(number: int, contact: int, second: int, score: float = 0.0) -> Completion:
    identity = completion_id("acme", "quiz", str(number), "")
    event = completion(
        contact_id=f"{contact:032x}",
        accepted_at=NOON_MS + second * 1_000,
        score=score,
        answers={"q": "yes" if score else "no"},
    )
    return event.__class__(
        **{**{f: getattr(event, f) for f in event.__struct_fields__}, "completion_id": identity}
    )


def feed() -> list[Completion]:
    """Ten completions of each contact, one a minute: five of them are within the hour's limit for a quiz."""
    return [
        made(number, number % CONTACTS, 60 * (number // CONTACTS), score=float(number % 10))
        for number in range(COMPLETIONS)
    ]


class Cluster:
    """The topics of one test, and what is in them."""

    def __init__(self, bootstrap: str, namespace: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.namespace = namespace
        self.topology_file = quick_topology(folder)
        self.topology: Topology = load(self.topology_file, namespace)
        apply(self.topology, bootstrap, 1)
        self._producer = make_producer(bootstrap)

    def publish(self, *events: Campaign | Quiz) -> None:
        for event in events:
            if isinstance(event, Campaign):
                key = campaign_key(event.campaign_id, event.version)
                self._put("campaigns", key, codec("campaign").encode(event))
            else:
                self._put("quizzes", event.quiz_id.encode(), codec("quiz").encode(event))
        delivered(self._producer)

    def complete(self, *events: Completion | bytes) -> None:
        """Bytes are put as they are, as by hand."""
        for event in events:
            if isinstance(event, bytes):
                self._put("completions", b"by hand", event)
            else:
                self._put("completions", event.contact_id.encode(), codec("completion").encode(event))
        delivered(self._producer)

    def _put(self, role: str, key: bytes, value: bytes) -> None:
        self._producer.produce(self.topology.topic(role).name, key=key, value=value)

    def values(self, role: str) -> list[bytes]:
        """Everything that a topic holds now."""
        values = [record.value for record in TopicScan(self.bootstrap, self.topology.topic(role)).records()]
        assert None not in values
        return [value for value in values if value is not None]

    def verdicts(self) -> dict[str, tuple[str, str, tuple[str, ...]]]:
        """Completion id -> verdict, reason, campaigns; the same however often it was given."""
        found: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        for value in self.values("outcomes"):
            outcome = codec("outcome").decode(value)
            verdict = (outcome.verdict, outcome.reason, tuple(c.campaign_id for c in outcome.campaigns))
            assert found.setdefault(outcome.completion_id, verdict) == verdict
        return found

    def deliveries(self) -> dict[tuple[str, str], str]:
        """(campaign, contact) -> completion id; the same however often it was delivered."""
        found: dict[tuple[str, str], str] = {}
        for value in self.values("deliveries"):
            match = codec("match").decode(value)
            key = (match.campaign_id, match.contact_id)
            assert found.setdefault(key, match.completion_id) == match.completion_id
        return found

    def duplicates(self) -> set[tuple[str, str, str]]:
        """(campaign, completion id, first completion id)."""
        events = [codec("duplicate").decode(value) for value in self.values("duplicates")]
        return {(event.campaign_id, event.completion_id, event.first_completion_id) for event in events}

    def is_read(self) -> bool:
        """Whether the group has committed all that its topics hold. A worker may be ready before."""
        topics = [self.topology.topic(role) for role in ("completions", "matches")]
        partitions = {topic.name: topic.partitions for topic in topics}
        with TopicOffsets(self.bootstrap) as offsets:
            committed = offsets.committed(self.topology.stream.group, partitions)
            return all(
                committed.get(topic, {}).get(partition, 0) >= end
                for topic, ends in offsets.ends(partitions).items()
                for partition, end in ends.items()
            )

    def delete_offsets(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        group = self.topology.stream.group
        admin.delete_consumer_groups([group])[group].result()


def expected_verdicts(log: list[Completion]) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    seen: dict[str, int] = {}
    expected: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for event in log:
        seen[event.contact_id] = seen.get(event.contact_id, 0) + 1
        good = event.score is not None and event.score >= 8
        expected[event.completion_id] = (
            ("limited", "contact_quiz: 5 in 3600 s", ())
            if seen[event.contact_id] > 5
            else ("matched", "", ("everybody", "good") if good else ("everybody",))
        )
    return expected


def expected_deliveries(log: list[Completion]) -> dict[tuple[str, str], str]:
    verdicts = expected_verdicts(log)
    first: dict[tuple[str, str], str] = {}
    for event in log:
        for campaign_id in verdicts[event.completion_id][2]:
            first.setdefault((campaign_id, event.contact_id), event.completion_id)
    return first


class Worker:
    """One worker process after the other, in one home."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.port_base = free_ports().base
        self.metrics_port = Ports.from_base(self.port_base).worker_metrics
        self._env = {
            **os.environ,
            "QUIZSTREAM_HOME": str(home),
            "QUIZSTREAM_PORT_BASE": str(self.port_base),
            "KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap,
            "QUIZSTREAM_NAMESPACE": cluster.namespace,
            "QUIZSTREAM_TOPOLOGY": str(cluster.topology_file),
        }
        self._process: subprocess.Popen[bytes] | Forked | None = None

    def start(self, **env: str) -> None:
        if "QUIZSTREAM_CRASH_POINTS" in env:
            argv = [sys.executable, "-m", PROCESSES, "worker"]
            self._process = subprocess.Popen(argv, env={**self._env, **env}, cwd=CHECKOUT)
            return
        with Path(os.devnull).open("wb") as nowhere:
            self._process = start(
                PROCESSES, ("worker",), {**self._env, **env}, nowhere, nowhere, imports=("pipeline.worker",)
            )

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(WAIT_S)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self.wait()

    def get(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as reply:
            return str(reply.read().decode())

    def is_ready(self) -> bool:
        try:
            return bool(self.get("/health/ready"))
        except (URLError, OSError):
            return False

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


@pytest.fixture
def cluster(stack: ServerUrls, namespace: str, tmp_path: Path) -> Cluster:
    made = Cluster(stack.kafka_bootstrap, namespace, tmp_path)
    made.publish(Quiz("quiz", "acme", 1, TITLE, [Question("q")], 0), EVERYBODY, GOOD, ENDED)
    return made


@pytest.fixture
def worker(cluster: Cluster, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(cluster, tmp_path)
    yield made
    made.stop()


def test_verdicts_survive_kills_and_rewinds(cluster: Cluster, worker: Worker) -> None:
    """Given a feed with repeats and one record that nobody can read, a worker that dies with outputs sent and
    no state written, and at last a group that begins again beside new campaigns, one of them backdated."""
    log = feed()
    expected, delivered = expected_verdicts(log), expected_deliveries(log)
    cluster.complete(*log[:400], b"nobody can read this", *log[:50])

    worker.start(QUIZSTREAM_CRASH_POINTS="stream.delivered:kill:3")
    assert worker.wait() == -signal.SIGKILL
    worker.start()
    cluster.complete(*log[350:])
    wait_until(lambda: len(cluster.verdicts()) == COMPLETIONS)
    worker.end(signal.SIGKILL)
    worker.start()

    def whole() -> bool:
        duplicates = {(name, repeated) for name, repeated, _ in cluster.duplicates()}
        matched = sum(len(campaigns) for _, _, campaigns in expected.values())
        return len(cluster.deliveries()) + len(duplicates) == matched

    wait_until(whole)
    assert cluster.verdicts() == expected
    assert cluster.deliveries() == delivered
    owners = {event.completion_id: event.contact_id for event in log}
    duplicates = cluster.duplicates()
    assert all(delivered[name, owners[repeated]] == first for name, repeated, first in duplicates)
    sent = [codec("match").decode(value) for value in cluster.values("deliveries")]
    assert {match.variables["title"] for match in sent if match.campaign_id == "everybody"} == {TITLE}
    dead = [codec("dead_letter").decode(value) for value in cluster.values("dead_letters")]
    assert {(letter.stage, letter.personal.value) for letter in dead} == {
        ("qualify", b"nobody can read this")
    }

    wait_until(worker.is_ready)
    wait_until(cluster.is_read)
    assert "quizstream_completions_repeated_total" in worker.get("/metrics")
    assert worker.end() == 0
    cluster.delete_offsets()
    cluster.publish(campaign("new", effective_at=NOON_MS + 10**9), campaign("backdated"))
    given = len(cluster.values("outcomes"))
    worker.start()
    wait_until(lambda: len(cluster.values("outcomes")) >= given + COMPLETIONS)
    one_more = made(COMPLETIONS, CONTACTS, 0)
    cluster.complete(one_more)
    wait_until(lambda: ("everybody", one_more.contact_id) in cluster.deliveries())
    matched = ("backdated", "everybody")
    assert cluster.verdicts() == expected | {one_more.completion_id: ("matched", "", matched)}
    wait_until(lambda: len(cluster.deliveries()) >= len(delivered) + len(matched))
    new = {(name, one_more.contact_id): one_more.completion_id for name in matched}
    assert cluster.deliveries() == delivered | new
    assert cluster.duplicates() == duplicates
    assert worker.end() == 0


def test_a_campaign_is_known_to_a_running_worker(cluster: Cluster, worker: Worker) -> None:
    worker.start()
    wait_until(worker.is_ready)
    cluster.publish(campaign("fresh"))
    wait_until(lambda: "quizstream_campaigns_late_total 1.0" in worker.get("/metrics"))
    done = made(1, 1, 0)
    cluster.complete(done)
    wait_until(lambda: done.completion_id in cluster.verdicts())
    assert cluster.verdicts()[done.completion_id] == ("matched", "", ("everybody", "fresh"))


def test_a_worker_that_cannot_read_its_reference_data_does_not_start(worker: Worker) -> None:
    worker.start(QUIZSTREAM_NAMESPACE="without-topics")
    assert worker.wait() == 1


def test_a_second_worker_needs_a_number_of_its_own_and_has_a_folder_and_a_port_by_it(
    cluster: Cluster, worker: Worker, tmp_path: Path
) -> None:
    worker.start()
    wait_until(worker.is_ready)
    second = Worker(cluster, tmp_path)
    second.start()
    assert second.wait() == 1

    second.metrics_port = Ports.from_base(worker.port_base).worker(1)
    try:
        second.start(QUIZSTREAM_WORKER_ID="1", QUIZSTREAM_PORT_BASE=str(worker.port_base))
        wait_until(second.is_ready)
        assert "quizstream_" in second.get("/metrics")
        assert (tmp_path / "worker-1" / "lock").exists()
    finally:
        second.stop()

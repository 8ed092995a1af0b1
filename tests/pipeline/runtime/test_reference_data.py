"""Reference data on a real broker: read from the beginning, in order, then followed; bad ones skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ops.embedded.stack import ServerUrls
from ops.topics.command import apply
from pipeline.runtime.reference_data import ReferenceDataFollower, ReferenceDataNotRead
from pipeline.topology.loader import load
from pipeline.topology.model import Topic
from schemas.codec import codec
from schemas.records import Token
from tests.support.producer import delivered, make_producer

FILE = Path(__file__).resolve().parents[3] / "topology.yaml"
READ_TIMEOUT_S = 30.0
SEEN_TIMEOUT_S = 30.0

Follow = Callable[[Callable[[bytes, Token | None], None]], ReferenceDataFollower[Token]]


class Seen:
    """What was handed on, and a way to wait for more."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, int | None]] = []
        self.changed = threading.Condition()

    def __call__(self, key: bytes, token: Token | None) -> None:
        with self.changed:
            self.records.append((key, None if token is None else token.version))
            self.changed.notify_all()

    def wait_for(self, count: int) -> list[tuple[bytes, int | None]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.records) >= count, SEEN_TIMEOUT_S)
            return list(self.records)


@pytest.fixture
def topic(stack: ServerUrls, namespace: str) -> Topic:
    topology = load(FILE, namespace)
    apply(topology, stack.kafka_bootstrap, 1)
    return topology.topic("tokens")


@pytest.fixture
def follow(stack: ServerUrls, topic: Topic) -> Iterator[Follow]:
    made: list[ReferenceDataFollower[Token]] = []

    def start(on_event: Callable[[bytes, Token | None], None]) -> ReferenceDataFollower[Token]:
        made.append(ReferenceDataFollower(stack.kafka_bootstrap, topic, codec("token"), on_event))
        return made[-1]

    yield start
    for follower in made:
        follower.stop()


def publish(stack: ServerUrls, topic: Topic, *records: tuple[bytes, int | bytes | None]) -> None:
    """`(key, version)`; bytes are put as they are, None is a tombstone."""
    producer = make_producer(stack.kafka_bootstrap)
    for key, record in records:
        value = codec("token").encode(Token("h", "acme", record)) if isinstance(record, int) else record
        producer.produce(topic.name, key=key, value=value)
    delivered(producer)


def count(name: str) -> float:
    return REGISTRY.get_sample_value(name, {"role": "tokens"}) or 0.0


def test_reference_data_is_read_to_the_end_and_then_followed(
    stack: ServerUrls, topic: Topic, follow: Follow
) -> None:
    publish(stack, topic, (b"a", 1), (b"b", 1), (b"a", 2), (b"b", None))
    seen = Seen()
    follower = follow(seen)
    assert follower.problem == "reference data tokens: not read yet"

    follower.read_to_end(READ_TIMEOUT_S)
    assert seen.records == [(b"a", 1), (b"b", 1), (b"a", 2), (b"b", None)]
    assert follower.caught_up
    assert not follower.problem

    publish(stack, topic, (b"between", 1))
    follower.start()
    publish(stack, topic, (b"after", 1))
    assert seen.wait_for(6)[4:] == [(b"between", 1), (b"after", 1)]


def test_every_process_reads_all_of_it_for_itself(stack: ServerUrls, topic: Topic, follow: Follow) -> None:
    publish(stack, topic, (b"a", 1))
    readers = [Seen(), Seen()]
    for seen in readers:
        follow(seen).read_to_end(READ_TIMEOUT_S)
    assert [seen.records for seen in readers] == [[(b"a", 1)], [(b"a", 1)]]


def test_an_empty_topic_is_read_at_once(follow: Follow) -> None:
    seen = Seen()
    follower = follow(seen)
    follower.read_to_end(READ_TIMEOUT_S)
    assert (seen.records, follower.caught_up) == ([], True)


def test_what_is_no_fact_is_counted_and_passed_over(stack: ServerUrls, topic: Topic, follow: Follow) -> None:
    before = count("quizstream_reference_data_undecodable_total")
    publish(stack, topic, (b"a", 1), (b"x", b"{}"), (b"y", b""), (b"b", 1))
    seen = Seen()
    follow(seen).read_to_end(READ_TIMEOUT_S)
    assert seen.records == [(b"a", 1), (b"b", 1)]
    assert count("quizstream_reference_data_undecodable_total") == before + 2


def test_a_process_whose_reference_data_is_no_longer_followed_says_so(
    stack: ServerUrls, topic: Topic, follow: Follow
) -> None:
    failed = threading.Event()

    def broken(key: bytes, token: Token | None) -> None:
        failed.set()
        raise RuntimeError("cannot take it")

    follower = follow(broken)
    follower.read_to_end(READ_TIMEOUT_S)
    follower.start()
    publish(stack, topic, (b"a", 1))
    assert failed.wait(SEEN_TIMEOUT_S)
    follower.stop()
    assert follower.problem == "reference data tokens: following ended by RuntimeError"


def test_a_topic_that_is_not_there_says_what_to_do(stack: ServerUrls, namespace: str) -> None:
    missing = load(FILE, namespace).topic("quizzes")
    follower = ReferenceDataFollower(stack.kafka_bootstrap, missing, codec("quiz"), lambda key, quiz: None)
    with pytest.raises(ReferenceDataNotRead, match="quizstream topology apply"):
        follower.read_to_end(READ_TIMEOUT_S)
    follower.stop()


def test_brokers_that_are_away_are_said() -> None:
    follower = ReferenceDataFollower("127.0.0.1:1", load(FILE).topic("tokens"), codec("token"), Seen())
    with pytest.raises(ReferenceDataNotRead, match="reference data tokens: "):
        follower.read_to_end(0.5)
    follower.stop()

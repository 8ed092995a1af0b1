from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from pipeline.runtime.backoff import Backoff
from sinks.postgres import metrics
from sinks.postgres.connect import connect
from sinks.postgres.dead_letter_producer import NotDelivered, producer
from sinks.postgres.outbox import Publisher, Row, enqueue, enqueue_all
from tests.support.producer import make_producer
from tests.support.sinks import Corner, until

ROLE = "delivery_events"


def publisher(corner: Corner, kafka: Producer | None = None) -> Publisher:
    return Publisher(
        corner.topology,
        kafka or producer(corner.bootstrap, "test-outbox", corner.topology.record_bytes_max),
        lambda: connect(corner.database_url, "test publisher"),
        Backoff(first_s=0.02, longest_s=0.1, rng=random.Random(1)),
    )


def values(corner: Corner) -> Sequence[bytes | None]:
    return [message.value() for message in corner.messages(ROLE)]


def published(mine: Publisher, rows: int) -> None:
    """Waits: the horizon is the whole server's, and another test's open transaction holds it back, too."""
    moved: list[int] = []

    def all_moved() -> bool:
        moved.append(mine.publish_once())
        return sum(moved) == rows

    until(all_moved, f"{rows} rows to be published")


def test_rows_are_published_in_order_and_deleted(corner: Corner) -> None:
    corner.make_topics(ROLE)
    with corner.connection.transaction():
        enqueue_all(corner.connection, ROLE, [(b"key", str(n).encode()) for n in range(700)])
    enqueue(corner.connection, ROLE, b"key", None)

    published(publisher(corner), 701)

    assert values(corner) == [*(str(n).encode() for n in range(700)), None]
    assert corner.rows("SELECT 1 FROM outbox") == []


def test_nothing_beyond_an_open_transaction_is_published(corner: Corner) -> None:
    """An open transaction holds a smaller id than a later one that is committed: both must come, in order."""
    corner.make_topics(ROLE)
    mine = publisher(corner)
    with connect(corner.database_url, "slow") as slow:
        with slow.transaction():
            enqueue(slow, ROLE, b"key", b"first")
            enqueue(corner.connection, ROLE, b"key", b"second")
            assert mine.publish_once() == 0
        published(mine, 2)

    assert values(corner) == [b"first", b"second"]


def test_what_is_rolled_back_is_never_told(corner: Corner) -> None:
    corner.make_topics(ROLE)
    with corner.connection.transaction(force_rollback=True):
        enqueue(corner.connection, ROLE, b"key", b"never")

    assert publisher(corner).publish_once() == 0


def test_one_of_two_publishers_works_and_the_other_takes_over(corner: Corner) -> None:
    corner.make_topics(ROLE)
    stops = [threading.Event(), threading.Event()]
    both = [publisher(corner), publisher(corner)]
    threads = [threading.Thread(target=p.run, args=[s]) for p, s in zip(both, stops, strict=True)]
    for thread in threads:
        thread.start()
    for n in range(20):
        enqueue(corner.connection, ROLE, b"key", str(n).encode())
    until(lambda: corner.rows("SELECT 1 FROM outbox") == [], "an empty outbox")
    leaders = [p.leading for p in both]

    stops[leaders.index(True)].set()
    for n in range(20, 40):
        enqueue(corner.connection, ROLE, b"key", str(n).encode())
    until(lambda: corner.rows("SELECT 1 FROM outbox") == [], "an empty outbox again")
    for stop, thread in zip(stops, threads, strict=True):
        stop.set()
        thread.join()

    assert sorted(leaders) == [False, True]
    assert values(corner) == [str(n).encode() for n in range(40)]


def test_a_crash_before_the_deletion_sends_again_in_order(corner: Corner) -> None:
    corner.make_topics(ROLE)
    with corner.connection.transaction():  # so that they are published together
        enqueue_all(corner.connection, ROLE, [(b"key", str(n).encode()) for n in range(3)])
    # Between the reports and the deletion the connection ends.
    dying = publisher(corner)
    produce = dying._deliver

    def deliver_and_lose_the_connection(rows: Sequence[Row]) -> Any:
        report = produce(rows)
        dying._database().close()
        return report

    dying._deliver = deliver_and_lose_the_connection  # type: ignore[method-assign]
    with pytest.raises(psycopg.OperationalError, match="connection is closed"):
        published(dying, 3)

    published(publisher(corner), 3)
    assert values(corner) == [b"0", b"1", b"2", b"0", b"1", b"2"]


def test_what_kafka_does_not_take_stays(corner: Corner) -> None:
    """Given a topic that does not exist: nothing is dropped, and it goes out once it does."""
    enqueue(corner.connection, ROLE, b"key", b"value")
    mine = publisher(corner, make_producer(corner.bootstrap, **{"delivery.timeout.ms": 500}))
    with pytest.raises(NotDelivered):
        published(mine, 1)
    corner.make_topics(ROLE)

    until(lambda: delivered(mine), "the topic to be seen")

    assert values(corner) == [b"value"]


def test_what_kafka_does_not_take_holds_up_its_own_key_alone(corner: Corner) -> None:
    """An event of a topic that does not exist; later ones of other keys go out."""
    corner.make_topics(ROLE)
    mine = publisher(corner, make_producer(corner.bootstrap, **{"delivery.timeout.ms": 500}))
    with corner.connection.transaction():
        enqueue(corner.connection, "campaigns", b"spring", b"first")
        enqueue_all(corner.connection, ROLE, [(b"key", b"1"), (b"key", b"2")])
        enqueue(corner.connection, "campaigns", b"spring", b"after it")
    with pytest.raises(NotDelivered):
        published(mine, 4)
    enqueue_all(corner.connection, ROLE, [(b"key", b"3")])

    published(mine, 1)

    assert [message.value() for message in corner.messages(ROLE) if message.key() == b"key"] == [
        b"1",
        b"2",
        b"3",
    ]
    assert corner.rows("SELECT value FROM outbox ORDER BY id") == [(b"first",), (b"after it",)]
    assert mine.publish_once() == 0


# Of random bytes: no compression makes them smaller. The topics take 1 MiB.
LARGE = random.Random(7).randbytes(1_100_000)


def test_an_event_that_its_topic_never_takes_is_set_aside_and_others_go_out(corner: Corner) -> None:
    """One tenant's object must not stop the events of all. A later event of its key replaces it."""
    corner.make_topics(ROLE)
    mine = publisher(corner)
    with corner.connection.transaction():
        enqueue(corner.connection, ROLE, b"small", b"1")
        enqueue(corner.connection, ROLE, b"large", LARGE)
        enqueue_all(corner.connection, ROLE, [(b"small", b"2"), (b"other", b"3")])

    published(mine, 4)

    assert values(corner) == [b"1", b"2", b"3"]
    assert corner.rows("SELECT key FROM outbox WHERE set_aside_at IS NOT NULL") == [(b"large",)]
    assert not mine.held_up()
    assert metrics.OUTBOX_SET_ASIDE._value.get() == 1
    enqueue(corner.connection, ROLE, b"large", b"smaller")
    published(mine, 1)
    assert values(corner)[-1] == b"smaller"
    assert corner.rows("SELECT 1 FROM outbox") == []
    assert metrics.OUTBOX_SET_ASIDE._value.get() == 0


def test_the_next_publisher_tries_what_was_set_aside_again(corner: Corner) -> None:
    """As after the topic's limit was raised, and the sink was restarted."""
    corner.make_topics(ROLE)
    limited = make_producer(corner.bootstrap, **{"message.max.bytes": 2000})
    mine = publisher(corner, limited)
    enqueue(corner.connection, ROLE, b"large", bytes(5000))
    published(mine, 1)
    assert values(corner) == []
    mine._release()

    published(publisher(corner), 1)

    assert values(corner) == [bytes(5000)]


def test_what_one_event_too_large_takes_with_it_is_published_alone(corner: Corner) -> None:
    """Given a topic that takes less than the topology has it: its broker rejects the whole request."""
    corner.make_topics(ROLE, record_bytes_max=3000)
    mine = publisher(corner)
    with corner.connection.transaction():
        enqueue(corner.connection, ROLE, b"key", b"1")
        enqueue(corner.connection, ROLE, b"key", LARGE[:5000])
        enqueue_all(corner.connection, ROLE, [(b"key", b"2"), (b"large", LARGE[:5000]), (b"key", b"3")])

    published(mine, 5)

    assert [value for value in values(corner) if value != b"1"][-2:] == [b"2", b"3"]
    assert corner.rows("SELECT key FROM outbox") == [(b"large",)]


def test_postgres_away_is_waited_for(corner: Corner) -> None:
    corner.make_topics(ROLE)
    (name,) = corner.rows("SELECT current_database()")[0]
    mine, stop = publisher(corner), threading.Event()
    thread = threading.Thread(target=mine.run, args=[stop])
    thread.start()
    until(lambda: mine.leading, "the lead")
    with psycopg.connect(corner.database_url.rpartition("/")[0] + "/postgres", autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        until(lambda: mine.holding, "the publisher to notice")
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    corner.connection = connect(corner.database_url, "test")
    enqueue(corner.connection, ROLE, b"key", b"value")
    until(lambda: corner.rows("SELECT 1 FROM outbox") == [], "an empty outbox")
    stop.set()
    thread.join()

    assert values(corner) == [b"value"]


def delivered(mine: Publisher) -> bool:
    try:
        return mine.publish_once() == 1
    except NotDelivered:
        return False

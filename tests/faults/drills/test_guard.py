"""What Kafka knows of deliveries and the tables do not: who may be written to after a restore, and when."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from confluent_kafka import KafkaException

from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.topic_offsets import TopicOffsets
from pipeline.topology.model import Sink
from schemas.codec import codec
from schemas.records import DeliveryEvent
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import producer
from sinks.postgres.outbox import Publisher, enqueue
from sinks.postgres.restore.guard import RestoreGuard
from tests.support.producer import delivered, make_producer
from tests.support.running_pipeline import until
from tests.support.story import deployed

ATTEMPT = str(uuid4())


class Ledger:
    """A ledger of one contact a delivery, its history in Kafka, and the guard between the two."""

    def __init__(self, found: Deployment) -> None:
        self.found = found
        self.topic = found.topology.topic("delivery_events")
        self.connection: Connection = connect(found.settings.database_url, "test")
        self.now_s = 0.0
        self.guard = RestoreGuard(found.topology, found.settings.kafka_bootstrap_servers, lambda: self.now_s)
        self._producer = make_producer(found.settings.kafka_bootstrap_servers)

    def row(self, state: str, sequence: int) -> str:
        delivery_id = str(uuid4())
        self.connection.execute(
            "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
            " campaign_version, completion_id, completion_day, state, due_at, sequence)"
            " VALUES ('2026-09-01', 'c', %s, %s, 't', 1, %s, '2026-09-21', %s, now(), %s)",
            [delivery_id, delivery_id, uuid4(), state, sequence],
        )
        return delivery_id

    def told(self, delivery_id: str, state: str, sequence: int, attempt_id: str | None = None) -> None:
        event = DeliveryEvent(
            *(delivery_id, "t", "c", delivery_id, str(UUID(int=0)), sequence, state, 1_790_000_000_000),
            attempts=0 if attempt_id is None else 1,
            attempt_id=attempt_id,
            number_id=None if attempt_id is None else "5511",
        )
        value = codec("delivery_event").encode(event)
        self._producer.produce(self.topic.name, value, delivery_id.encode())
        delivered(self._producer)

    def verified(self) -> None:
        """As the publisher does: a topic that was made a moment ago may have no leader yet."""

        def answered() -> bool:
            try:
                self.guard.verify(self.connection)
            except KafkaException:
                return False
            return True

        until(answered, "Kafka answers")
        self.renewed()

    def renewed(self) -> None:
        self.now_s += 60
        self.guard.renew(self.connection)

    def state(self, delivery_id: str) -> tuple[object, ...]:
        row = self.connection.execute(
            "SELECT state, sequence, attempts FROM deliveries WHERE delivery_id = %s", [delivery_id]
        ).fetchone()
        assert row is not None
        return row

    def is_permitted(self) -> bool:
        row = self.connection.execute("SELECT sending_is_permitted()").fetchone()
        return row == (True,)

    @property
    def stops(self) -> list[object]:
        return [row[0] for row in self.connection.execute("SELECT scope FROM sending_stops")]


@pytest.fixture
def found(stack: ServerUrls, database_url: str, namespace: str, tmp_path: Path) -> Deployment:
    return deployed(stack, database_url, namespace, tmp_path)


@pytest.fixture
def ledger(found: Deployment) -> Ledger:
    return Ledger(found)


def test_a_ledger_as_new_as_its_history_is_permitted_to_send(ledger: Ledger) -> None:
    sent = ledger.row("sent", 4)
    ledger.told(sent, "sent", 4)  # as after a crash between publishing and taking it out of the outbox
    ledger.verified()
    assert (ledger.is_permitted(), ledger.stops, ledger.state(sent)) == (True, [], ("sent", 4, 0))


def test_a_sink_that_runs_while_it_is_asked_about_is_not_taken_for_one_that_forgot(ledger: Ledger) -> None:
    class Meanwhile(RestoreGuard):
        def _committed(self, sink: Sink) -> dict[int, int]:
            ledger.connection.execute(
                "INSERT INTO sink_offsets (sink, topic, partition, next_offset) VALUES (%s, %s, 0, 5)"
                " ON CONFLICT (sink, topic, partition) DO UPDATE SET next_offset = 5",
                [sink.name, sink.source.name],
            )
            return {0: 5}

    for sink in ledger.found.topology.sinks.values():
        ledger.connection.execute(
            "INSERT INTO sink_offsets (sink, topic, partition, next_offset) VALUES (%s, %s, 0, 3)",
            [sink.name, sink.source.name],
        )
    settings = ledger.found.settings
    ledger.guard = Meanwhile(ledger.found.topology, settings.kafka_bootstrap_servers, lambda: ledger.now_s)
    leased = ledger.row("leased", 2)
    ledger.verified()
    assert (ledger.is_permitted(), ledger.stops, ledger.state(leased)) == (True, [], ("leased", 2, 0))


def test_what_a_copy_forgot_is_put_right_and_what_may_have_been_called_is_in_doubt(ledger: Ledger) -> None:
    sent, calling, leased, waiting = (ledger.row("waiting", 1) for _ in range(4))
    untouched, held = ledger.row("waiting", 1), ledger.row("leased", 2)
    for delivery_id, state, sequence, attempt_id in (
        (sent, "leased", 2, None),
        (sent, "calling", 3, ATTEMPT),
        (sent, "sent", 4, ATTEMPT),
        (calling, "calling", 3, str(uuid4())),
        (leased, "leased", 2, None),
        (waiting, "waiting", 5, str(uuid4())),
        (held, "leased", 2, None),
    ):
        ledger.told(delivery_id, state, sequence, attempt_id)
    ledger.verified()
    assert ledger.is_permitted()
    assert ledger.state(sent) == ("sent", 5, 1)
    assert ledger.state(calling) == ("ambiguous", 4, 1)
    assert ledger.state(leased) == ("ambiguous", 3, 0)
    assert ledger.state(held) == ("ambiguous", 3, 0)
    assert ledger.state(waiting) == ("waiting", 6, 1)
    assert ledger.state(untouched) == ("waiting", 1, 0)
    attempt = ledger.connection.execute(
        "SELECT outcome FROM delivery_attempts WHERE attempt_id = %s", [ATTEMPT]
    )
    assert attempt.fetchall() == [("sent",)]


def test_nothing_is_sent_until_the_sinks_have_opened_again_what_was_open(ledger: Ledger) -> None:
    topology = ledger.found.topology
    producer_ = make_producer(ledger.found.settings.kafka_bootstrap_servers)
    producer_.produce(topology.topic("deliveries").name, b"a match", b"k", 0)
    delivered(producer_)
    forgotten = str(uuid4())
    ledger.told(forgotten, "sent", 4)

    ledger.verified()
    assert (ledger.is_permitted(), ledger.stops) == (False, ["recovery"])
    ledger.renewed()
    assert (ledger.is_permitted(), ledger.stops) == (False, ["recovery"])
    again = Ledger(ledger.found)  # another process leads: it goes on where the first one was
    again.verified()
    assert (again.is_permitted(), again.stops) == (False, ["recovery"])

    ledger.connection.execute(
        "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
        " campaign_version, completion_id, completion_day, due_at)"
        " VALUES ('2026-09-01', 'c', 'x', %s, 't', 1, %s, '2026-09-21', now())",
        [forgotten, uuid4()],
    )
    for sink in topology.sinks.values():
        end = _end(ledger, sink.source.name)
        ledger.connection.execute(
            "INSERT INTO sink_offsets (sink, topic, partition, next_offset) VALUES (%s, %s, 0, %s)",
            [sink.name, sink.source.name, end],
        )
    again.renewed()
    assert (again.is_permitted(), again.stops, again.state(forgotten)) == (True, [], ("sent", 5, 0))


def test_a_permit_ends_with_its_leader_and_counts_in_no_other_database(ledger: Ledger) -> None:
    ledger.verified()
    assert ledger.is_permitted()
    ledger.connection.execute("UPDATE sending_permit SET incarnation = 'another server and other tables'")
    assert not ledger.is_permitted()
    ledger.renewed()
    assert ledger.is_permitted()
    ledger.connection.execute("UPDATE sending_permit SET granted_until = now()")
    assert not ledger.is_permitted()


def test_a_publisher_that_was_not_alone_reads_what_the_other_wrote(ledger: Ledger) -> None:
    settings, topology = ledger.found.settings, ledger.found.topology
    publisher = Publisher(
        topology,
        producer(settings.kafka_bootstrap_servers, "test", topology.record_bytes_max),
        lambda: connect(settings.database_url, "publisher"),
        Backoff(),
        guard=ledger.guard,
    )
    known = ledger.row("waiting", 1)

    def published() -> None:
        event = DeliveryEvent(known, "t", "c", known, str(UUID(int=0)), 1, "waiting", 0)
        enqueue(ledger.connection, "delivery_events", known.encode(), codec("delivery_event").encode(event))
        until(lambda: publisher.publish_once() > 0, "the horizon passes the event")

    ledger.verified()
    published()
    published()
    assert ledger.stops == []
    ledger.told(known, "sent", 7)  # by whoever sends from the other copy
    published()
    publisher.publish_once()
    ledger.renewed()
    assert ledger.state(known)[0] == "sent"
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.connection.execute("INSERT INTO sending_permit VALUES (false, now(), '')")


def _end(ledger: Ledger, topic: str) -> int:
    brokers = TopicOffsets(ledger.found.settings.kafka_bootstrap_servers)
    try:
        return brokers.ends({topic: 1})[topic][0]
    finally:
        brokers.close()

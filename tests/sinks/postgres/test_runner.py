"""What the runner promises, on real Kafka and Postgres, by the example of the completions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.codec import codec
from schemas.records import Completion
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import NotDelivered
from sinks.postgres.offsets import begin
from sinks.postgres.sink import Arrival, Refused, WriteReport
from sinks.postgres.tables.completions import Completions
from sinks.postgres.tables.deliveries import Deliveries
from sinks.postgres.topic_reader import DataLoss
from tests.support.samples import TODAY, completion, match, number
from tests.support.sinks import DEADLINE_S, TOPOLOGY_FILE, Corner, counted, until

STORED = "SELECT completion_id::text FROM completions ORDER BY completion_id"
EVERYTHING = "SELECT * FROM completions ORDER BY completion_id"


def test_completions_reach_their_table(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(20)])

    corner.run_to_end(Completions())

    assert corner.rows(STORED) == [(number(n),) for n in range(20)]
    assert corner.rows("SELECT answers, score FROM completions WHERE completion_id = %s", number(3)) == [
        ({"A1": 3, "A2": "sometimes", "A3": ["x", "y"], "A4": True, "A5": 0.5}, 0.75)
    ]


def test_replay_of_the_whole_topic_changes_no_row(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(20)])
    corner.run_to_end(Completions())
    before = corner.rows(EVERYTHING), corner.rows("SELECT * FROM contacts ORDER BY contact_id")

    corner.rows("DELETE FROM sink_offsets RETURNING 1")
    corner.run_to_end(Completions())

    assert (corner.rows(EVERYTHING), corner.rows("SELECT * FROM contacts ORDER BY contact_id")) == before


def stored() -> float:
    return counted("quizstream_sink_records_total", sink="completions")


def setbacks() -> float:
    return counted("quizstream_sink_setbacks_total", sink="completions", cause="Overtaken")


def test_the_group_in_kafka_is_for_views_only(corner: Corner) -> None:
    """Rewinding it, or losing it, changes nothing: the tables say where to go on."""
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(5)])
    corner.run_to_end(Completions())
    written = stored()

    corner.produce("completions", [completion(n) for n in range(5, 8)])
    corner.run_to_end(Completions(), group="a-group-without-offsets")

    after = stored()
    assert after - written == 3
    assert len(corner.rows(STORED)) == 8


def test_one_bad_event_in_a_batch_is_a_dead_letter_and_the_others_are_stored(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    events = [completion(n) for n in range(50)]
    events[17] = completion(17, quiz_id="a NUL \x00 is text to Avro, and none to Postgres")
    events[31] = completion(31, completion_id="no UUID")
    corner.produce("completions", events)

    corner.run_to_end(Completions())

    assert corner.rows(STORED) == [(number(n),) for n in range(50) if n not in (17, 31)]
    letters = corner.consume("dead_letters")
    assert {letter.source_offset for letter in letters} == {17, 31}
    assert {letter.stage for letter in letters} == {"sink:completions"}
    assert codec("completion").decode(letters[0].personal.value) in (events[17], events[31])
    assert all("NUL" not in letter.reason and "no UUID" not in letter.reason for letter in letters)


def test_what_cannot_be_decoded_is_a_dead_letter(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(0), b"not Avro", None, completion(1)])

    corner.run_to_end(Completions())

    assert corner.rows(STORED) == [(number(0),), (number(1),)]
    letters = corner.consume("dead_letters")
    assert [(each.source_offset, each.personal.value) for each in letters] == [(1, b"not Avro"), (2, None)]
    assert all(letter.reason.startswith("undecodable") for letter in letters)


def test_a_day_that_no_partition_is_made_for_is_a_dead_letter(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    days = [TODAY, TODAY + 60 * 365, TODAY - 401, 2**31 - 1, -(2**31), TODAY - 399, TODAY + 7]
    corner.produce("completions", [completion(n, day=day) for n, day in enumerate(days)])

    corner.run_to_end(Completions())

    assert corner.rows(STORED) == [(number(n),) for n in (0, 5, 6)]
    assert [letter.source_offset for letter in corner.consume("dead_letters")] == [1, 2, 3, 4]


def test_one_id_on_both_sides_of_midnight_is_one_row_and_the_first_payload_wins(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(1, day=TODAY - 1, score=0.1), completion(1, score=0.2)])
    corner.run_to_end(Completions())
    corner.produce("completions", [completion(1, day=TODAY - 2, score=0.3), completion(1, score=0.4)])

    corner.run_to_end(Completions())

    assert corner.rows("SELECT day - DATE '1970-01-01', score FROM completions") == [(TODAY - 1, 0.1)]
    assert corner.consume("dead_letters") == []


@pytest.mark.parametrize("point", ["sink.written", "sink.committed"])
def test_a_process_killed_at_its_commit_leaves_every_row_once(corner: Corner, point: str) -> None:
    corner.make_topics(*corner.topology.topics)
    corner.produce("completions", [completion(n) for n in range(30)])

    killed = subprocess.run(
        [sys.executable, "-m", "sinks.process"],
        env=os.environ | corner.env() | {"QUIZSTREAM_CRASH_POINTS": f"{point}:kill"},
        cwd=TOPOLOGY_FILE.parent,
        timeout=60,
        check=False,
    )
    left = len(corner.rows(STORED))
    corner.run_to_end(Completions(), group="the-group-of-the-next-process")

    assert killed.returncode == -signal.SIGKILL
    assert (left, corner.position("completions")) == (0 if point == "sink.written" else 30, 30)
    assert corner.rows(STORED) == [(number(n),) for n in range(30)]


def test_a_process_that_wakes_up_after_another_took_over_writes_nothing(corner: Corner) -> None:
    """Given a sink that polled a batch and then stood still, when another one has stored it and more."""
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(10)])
    asleep, wake = threading.Event(), threading.Event()

    class Sleeper:
        def decode(self, value: bytes | None) -> Completion:
            asleep.set()
            assert wake.wait(DEADLINE_S)
            return codec("completion").decode(value)

    overtaken = setbacks()
    with corner.running(Completions(), decoder=Sleeper(), group="zombie") as zombie:
        assert asleep.wait(DEADLINE_S)
        corner.produce("completions", [completion(n) for n in range(10, 15)])
        corner.run_to_end(Completions(), group="successor")
        before = corner.rows(EVERYTHING)
        wake.set()
        until(lambda: setbacks() > overtaken, "a setback")
        until(lambda: not zombie.runner.holding, "the zombie to find its place")

    assert corner.rows(EVERYTHING) == before
    assert corner.position("completions") == 15


def test_a_commit_whose_reply_is_lost_is_not_repeated(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner.make_topics("deliveries", "dead_letters")
    corner.produce("deliveries", [match(n) for n in range(10)])
    lost: list[str] = []

    def lose_the_first_reply(point: str) -> None:
        if point == "sink.committed" and not lost:
            lost.append(point)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("sinks.postgres.runner.reach", lose_the_first_reply)
    corner.run_to_end(Deliveries())
    corner.produce("deliveries", [match(10)])
    corner.run_to_end(Deliveries())

    assert lost
    assert len(corner.rows("SELECT 1 FROM deliveries")) == len(corner.told()) == 11


def test_postgres_away_is_waited_for(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    (name,) = corner.rows("SELECT current_database()")[0]
    with corner.running(Completions()) as running:
        until(lambda: corner.position("completions") == 0, "the sink to begin")
        with psycopg.connect(corner.database_url.rpartition("/")[0] + "/postgres", autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            corner.produce("completions", [completion(n) for n in range(5)])
            until(lambda: running.runner.holding, "the sink to notice")
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        corner.connection = connect(corner.database_url, "test")
        until(lambda: corner.position("completions") == 5, "the sink to go on")

    assert corner.rows(STORED) == [(number(n),) for n in range(5)]


@pytest.mark.parametrize("sqlstate", ["53100", "XX000", "40P01"])
def test_a_server_without_room_or_in_a_deadlock_is_asked_again_and_no_record_is_given_up(
    corner: Corner, sqlstate: str
) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(20)])
    tried = 0

    class Short(Completions):
        def write(self, connection: Connection, arrivals: Sequence[Arrival[Completion]]) -> WriteReport:
            nonlocal tried
            tried += 1
            if tried < 7:  # more often than twenty can be halved
                raise psycopg.errors.lookup(sqlstate)("from the server")
            return super().write(connection, arrivals)

    corner.run_to_end(Short())

    assert corner.rows(STORED) == [(number(n),) for n in range(20)]
    assert corner.consume("dead_letters") == []


def test_dead_letters_that_cannot_be_delivered_hold_the_position(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(0), b"not Avro"])
    refusals = 0

    def refuse(stage: str, refused: Sequence[Refused]) -> None:
        nonlocal refusals
        refusals += 1
        if refusals < 4:
            assert corner.rows(STORED) == []
            raise NotDelivered("Kafka is away")

    corner.run_to_end(Completions(), refuse=refuse)

    assert refusals == 4
    assert corner.rows(STORED) == [(number(0),)]


def test_a_position_that_the_log_no_longer_holds_stops_the_sink(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(10)])
    name = corner.topology.topic("completions").name
    for position, kept_from in ((1000, 0), (3, 5)):
        corner.rows("DELETE FROM sink_offsets RETURNING 1")
        begin(corner.connection, "completions", name, {0: position})
        admin = AdminClient({"bootstrap.servers": corner.bootstrap})
        admin.delete_records([TopicPartition(name, 0, kept_from)])[TopicPartition(name, 0)].result(DEADLINE_S)

        with pytest.raises(DataLoss, match=rf"continues at {position}, but the topic has {kept_from} to 10"):
            corner.run_to_end(Completions())

    assert corner.rows(STORED) == []

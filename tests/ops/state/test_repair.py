"""A changelog record that nobody can read stops a worker; one command, and it works on as if nothing was."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from ops.embedded.stack import ServerUrls
from ops.locate import Deployment, find
from ops.state.repair import NothingToRepair, plan, repair
from pipeline.engine.app import EXIT_UNRECOVERABLE
from pipeline.engine.envelope import payload, seal
from pipeline.runtime.record import Record
from pipeline.runtime.topic_reader import TopicScan
from schemas.codec import codec
from schemas.ids import campaign_month, match_key
from schemas.records import Question, Quiz
from sinks.postgres.connect import connect
from sinks.postgres.tables.deliveries import Deliveries
from tests.pipeline.test_worker import EVERYBODY, TITLE, Cluster, Worker, made, wait_until
from tests.support.producer import delivered, make_producer
from tests.support.sinks import Corner

BROKEN = b"\xff\xff"
ADA, BOB = 1, 2
WINDOWS, DELIVERED = "contact_windows_changelog", "delivered_changelog"


class World(NamedTuple):
    cluster: Cluster
    worker: Worker
    found: Deployment
    corner: Corner
    home: Path

    def log(self, role: str) -> list[Record]:
        return [*TopicScan(self.cluster.bootstrap, self.cluster.topology.topic(role)).records()]

    def newest(self, role: str, key: bytes) -> Record:
        return [record for record in self.log(role) if record.key == key][-1]

    def put(self, role: str, key: bytes, value: bytes, partition: int) -> Record:
        producer = make_producer(self.cluster.bootstrap)
        producer.produce(self.cluster.topology.topic(role).name, value, key, partition)
        delivered(producer)
        return self.newest(role, key)

    def audited(self) -> list[tuple[object, ...]]:
        return self.corner.rows(
            "SELECT actor, action, subject, detail->>'by' FROM audit_log ORDER BY audit_id"
        )


@pytest.fixture
def world(stack: ServerUrls, namespace: str, database_url: str, tmp_path: Path) -> Iterator[World]:
    cluster = Cluster(stack.kafka_bootstrap, namespace, tmp_path)
    cluster.publish(Quiz("quiz", "acme", 1, TITLE, [Question("q")], 0), EVERYBODY)
    env = {
        "QUIZSTREAM_HOME": str(tmp_path),
        "QUIZSTREAM_NAMESPACE": namespace,
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "DATABASE_URL": database_url,
    }
    worker = Worker(cluster, tmp_path)
    corner = Corner(stack.kafka_bootstrap, database_url, cluster.topology)
    yield World(cluster, worker, find(env), corner, tmp_path)
    worker.stop()
    corner.connection.close()


def place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def test_a_worker_that_stops_at_an_unreadable_record_works_on_after_its_repair(world: World) -> None:
    """Given the verdicts and the first match of a contact broken in both changelogs, and a folder lost."""
    cluster, worker = world.cluster, world.worker
    first, second = made(1, ADA, 0), made(2, ADA, 60)
    worker.start()
    cluster.complete(first, second, made(3, BOB, 0))
    wait_until(lambda: len(cluster.deliveries()) == 2 and len(cluster.duplicates()) == 1)
    wait_until(cluster.is_read)
    assert worker.end() == 0
    month = campaign_month(time.time_ns() // 1_000_000)
    matches = [codec("match").decode(value) for value in cluster.values("deliveries")]
    world.corner.write(
        Deliveries(), [msgspec.structs.replace(each, campaign_month=month) for each in matches]
    )
    world.corner.rows("INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme') RETURNING 1")
    world.corner.rows(
        "INSERT INTO campaigns (campaign_id, tenant_id, month, created_at) "
        "VALUES ('everybody', 'acme', DATE '1970-01-01' + %s, now()) RETURNING 1",
        month,
    )
    ada, match = first.contact_id.encode(), match_key("everybody", first.contact_id)
    good = {WINDOWS: world.newest(WINDOWS, ada), DELIVERED: world.newest(DELIVERED, match)}
    broken = {
        role: world.put(role, record.key or b"", BROKEN, record.partition) for role, record in good.items()
    }
    unknown = world.put(DELIVERED, b"gone|nobody", BROKEN, 0)
    shutil.rmtree(world.home / "worker-0")

    worker.start()
    assert worker.wait() == EXIT_UNRECOVERABLE

    planned = plan(world.found, *place(broken[WINDOWS]))
    assert (planned.by, planned.done) == ("rebuilt", False)
    assert world.newest(WINDOWS, ada) == broken[WINDOWS]
    assert world.audited() == []
    for role, by in ((WINDOWS, "rebuilt"), (DELIVERED, "rebuilt")):
        done = repair(world.found, "ada", *place(broken[role]))
        assert (done.by, done.loss, done.done) == (by, "", True)
        newest, before = world.newest(role, good[role].key or b""), good[role]
        assert newest.offset == done.offset_new
        assert payload(newest.value or b"") == payload(before.value or b"")
    forgotten = repair(world.found, "ada", DELIVERED, 0, unknown.offset)
    assert forgotten.by == "forgotten"
    assert "the ledger's primary key still has the delivery" in forgotten.loss
    with pytest.raises(NothingToRepair, match="superseded already"):
        repair(world.found, "ada", *place(broken[WINDOWS]))

    worker.start()
    wait_until(worker.is_ready)
    third = made(4, ADA, 120)
    cluster.complete(first, third)
    wait_until(lambda: third.completion_id in cluster.verdicts())
    wait_until(lambda: len(cluster.duplicates()) == 2)
    assert {holder for _, _, holder in cluster.duplicates()} == {first.completion_id}
    given = [codec("outcome").decode(value).completion_id for value in cluster.values("outcomes")]
    assert given.count(first.completion_id) == 1  # its repeat is known
    letters = [codec("dead_letter").decode(value) for value in cluster.values("dead_letters")]
    assert sorted((each.stage, each.personal.value, each.source_offset) for each in letters) == sorted(
        ("state-repair", BROKEN, record.offset) for record in (*broken.values(), unknown)
    )
    assert [(actor, action, by) for actor, action, _, by in world.audited()] == [
        ("ada", "state.repair", "rebuilt"),
        ("ada", "state.repair", "rebuilt"),
        ("ada", "state.repair", "forgotten"),
    ]


def test_without_another_source_the_last_readable_value_is_used_also_for_a_foreign_value(
    world: World,
) -> None:
    """A value with a readable offset stops no worker, but makes dead letters of its contact's matches."""
    key, name = b"gone|nobody", b"00000000-0000-0000-0000-000000000001"
    world.put(DELIVERED, key, seal(5, name), 3)
    foreign = world.put(DELIVERED, key, seal(9, b"something else"), 3)

    done = repair(world.found, "ada", *place(foreign))

    assert done.by == "last readable value"
    assert world.newest(DELIVERED, key).value == seal(5, name)


def test_what_needs_no_repair_is_left_alone(world: World) -> None:
    good = world.put(DELIVERED, b"a|b", seal(5, b"00000000-0000-0000-0000-000000000001"), 3)
    for topic, partition, offset, says in (
        (good.topic, 3, good.offset, "the record is readable"),
        (DELIVERED, 3, good.offset + 1, "no record"),
        (DELIVERED, 99, 0, "has no partition 99"),
        ("completions", 0, 0, "not the changelog of a table"),
        ("nothing", 0, 0, "no topic nothing in topology.yaml"),
    ):
        with pytest.raises(NothingToRepair, match=says):
            repair(world.found, "ada", topic, partition, offset)
    with connect(world.found.settings.database_url, "test") as connection:
        assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == (0,)
    assert world.newest(DELIVERED, b"a|b") == good

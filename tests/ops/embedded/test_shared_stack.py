"""The servers that tests share are real, each test has a corner of its own, and no run leaves them behind."""

from __future__ import annotations

from pathlib import Path

import psycopg
import redis
from confluent_kafka.admin import AdminClient

from ops.embedded.stack import ServerUrls
from tests.support.processes import descendants, python, still_there

WORKER = """
import sys
from pathlib import Path
from tests.support.shared_stack import shared_stack
with shared_stack(Path(sys.argv[1])) as urls:
    print(urls.kafka_bootstrap, flush=True)
    sys.stdin.read()
"""


def test_all_three_servers_answer(stack: ServerUrls) -> None:
    brokers = AdminClient({"bootstrap.servers": stack.kafka_bootstrap}).list_topics(timeout=60).brokers
    with psycopg.connect(stack.database_url) as connection:
        version = connection.info.server_version
    assert len(brokers) == 1
    assert version >= 180000
    assert redis.Redis.from_url(stack.redis_url).ping()


def test_a_test_may_have_an_empty_database(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_a_namespace_ends_in_a_dot(namespace: str) -> None:
    assert namespace.endswith(".")
    assert len(namespace) < 20


def test_killed_workers_leave_no_server(stack: ServerUrls, open_path: Path) -> None:
    workers = [python(WORKER, str(open_path / "run")) for _ in range(2)]
    told = {worker.stdout.readline() for worker in workers if worker.stdout is not None}
    assert len(told) == 1, "both workers have the same servers"
    assert "127.0.0.1" in told.pop()
    theirs = [process for worker in workers for process in descendants(worker.pid)]
    assert {"java", "postgres", "valkey-server"} <= {process.name() for process in theirs}
    for worker in workers:
        worker.kill()
        worker.communicate()
    assert still_there(theirs) == []
    assert not (open_path / "run").exists()

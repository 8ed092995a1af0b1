from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pipeline.runtime.ports import Ports
from tests.support.samples import completion, match, outcome
from tests.support.sinks import TOPOLOGY_FILE, Corner, until


@contextmanager
def process(env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "sinks.process"],
        env=os.environ | env,
        cwd=TOPOLOGY_FILE.parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGABRT)  # one that still runs says where each of its threads is
        _, said = running.communicate()
        print(said)


def is_ready(env: dict[str, str]) -> bool:
    port = Ports.from_env(env).sink_metrics
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def readiness(env: dict[str, str]) -> str:
    port = Ports.from_env(env).sink_metrics
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1) as reply:
            return str(reply.read())
    except urllib.error.HTTPError as refusal:
        return str(refusal.read())
    except OSError:
        return ""


def test_one_process_fills_all_tables_and_stops_when_asked(corner: Corner) -> None:
    corner.make_all_topics()
    env = corner.env()
    with process(env) as running:
        until(lambda: is_ready(env), "readiness")
        corner.produce("completions", [completion(1), b"not Avro"])
        corner.produce("outcomes", [outcome(1)])
        corner.produce("deliveries", [match(1)])
        for table in ("completions", "outcomes", "deliveries", "dead_letters"):
            until(lambda table=table: len(corner.rows(f"SELECT 1 FROM {table}")) == 1, table)  # type: ignore[misc]
        until(lambda: corner.end("delivery_events") == 1, "the delivery's event")

        asked_at = time.monotonic()
        running.send_signal(signal.SIGTERM)

        assert running.wait(30) == 0
        assert time.monotonic() - asked_at < 10

    assert corner.rows("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'quizstream sink%%'"
                       " AND datname = current_database()") == []  # fmt: skip


def test_a_process_whose_part_fails_ends_and_says_why(corner: Corner, empty_database_url: str) -> None:
    corner.make_all_topics()
    with process(corner.env() | {"DATABASE_URL": empty_database_url}) as running:
        _, said = running.communicate(timeout=60)

    assert running.returncode == 1
    assert (
        "lacks migration 0001_initial: run `python -m sinks.postgres.schema.migrate`" in said.splitlines()[-1]
    )


def test_a_process_without_kafka_is_not_ready_and_stops_when_asked(corner: Corner) -> None:
    env = corner.env() | {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with process(env) as running:
        until(lambda: "completions waits for Postgres or Kafka" in readiness(env), "its own judgement")
        running.send_signal(signal.SIGTERM)

        assert running.wait(30) == 0


def test_a_process_started_before_its_database_waits_for_it(corner: Corner) -> None:
    corner.make_all_topics()
    env = corner.env()
    (name,) = corner.rows("SELECT current_database()")[0]
    corner.close()
    with psycopg.connect(corner.database_url.rpartition("/")[0] + "/postgres", autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        with process(env) as running:
            time.sleep(2)
            assert not is_ready(env)
            assert running.poll() is None
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            until(lambda: is_ready(env), "readiness")
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0

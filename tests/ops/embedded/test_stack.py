"""Real servers, started and stopped in every way that a person or a crash may do it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ops.embedded.stack import EmbeddedStack, ServerUrls
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports
from tests.support.ports import free_ports
from tests.support.processes import descendants, still_there
from tests.support.producer import delivered, make_producer

HEAP_MIB = 256


@pytest.fixture(autouse=True)
def _servers_can_start(stack: ServerUrls) -> None:
    """Where the shared servers cannot start, neither can these: skipped on a laptop, failed in CI."""


@pytest.fixture
def own_ports() -> Ports:
    return free_ports()


def write_everywhere(urls: ServerUrls) -> None:
    admin = AdminClient({"bootstrap.servers": urls.kafka_bootstrap})
    admin.create_topics([NewTopic("notes", 1, 1)])["notes"].result(60)
    producer = make_producer(urls.kafka_bootstrap)
    producer.produce("notes", b"kept")
    delivered(producer)
    with psycopg.connect(urls.database_url) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'kept' AS note")
    redis.Redis.from_url(urls.redis_url).set("note", "kept")


def read_everywhere(urls: ServerUrls) -> tuple[object, object, object]:
    topics = AdminClient({"bootstrap.servers": urls.kafka_bootstrap}).list_topics(timeout=60).topics
    with psycopg.connect(urls.database_url) as connection:
        row = connection.execute("SELECT note FROM notes").fetchone()
    return "notes" in topics, row, redis.Redis.from_url(urls.redis_url).get("note")


KEPT = (True, ("kept",), b"kept")


def run_in_foreground(home: Path, ports: Ports) -> tuple[subprocess.Popen[str], ServerUrls]:
    """`python -m ops.embedded`, once it has told its addresses."""
    owner = subprocess.Popen(
        [
            *(sys.executable, "-m", "ops.embedded", "--home", str(home)),
            *("--port-base", str(ports.base), "--kafka-heap-mib", str(HEAP_MIB)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert owner.stdout is not None
    told = [owner.stdout.readline().strip().removeprefix("export ").partition("=")[2] for _ in range(3)]
    return owner, ServerUrls(*told)


def test_a_home_of_any_name_keeps_its_data_and_leaves_no_process(open_path: Path, own_ports: Ports) -> None:
    home = open_path / "São João, com espaço: 100 %" / ("folder" * 20) / "home"
    stack = EmbeddedStack(home, own_ports, kafka_heap_mib=HEAP_MIB)
    with stack as urls:
        write_everywhere(urls)
        servers = [psutil.Process(pid) for pid in stack.pids.values()]
        servers += [child for server in servers for child in server.children(recursive=True)]
        with pytest.raises(CannotStart, match=f"in use by process {os.getpid()}"):
            EmbeddedStack(home, free_ports()).start()
    assert len(servers) > 3
    assert still_there(servers) == []

    elsewhere = free_ports()
    with EmbeddedStack(home, elsewhere, kafka_heap_mib=HEAP_MIB) as urls:
        assert str(elsewhere.kafka) in urls.kafka_bootstrap
        assert read_everywhere(urls) == KEPT


def test_a_killed_owner_leaves_no_process_and_its_home_starts_again(
    open_path: Path, own_ports: Ports
) -> None:
    home = open_path / "home"
    owner, urls = run_in_foreground(home, own_ports)
    write_everywhere(urls)
    servers = descendants(owner.pid)
    owner.kill()
    owner.communicate()
    assert len(servers) > 3

    # At once, while the servers of the killed owner may still be stopping.
    owner, urls = run_in_foreground(home, own_ports)
    assert still_there(servers) == []
    assert read_everywhere(urls) == KEPT

    servers = descendants(owner.pid)
    owner.send_signal(signal.SIGTERM)
    owner.communicate()
    assert owner.returncode == 0
    assert still_there(servers) == []


def test_a_killed_kafka_and_postgres_recover_what_was_acknowledged(open_path: Path, own_ports: Ports) -> None:
    stack = EmbeddedStack(open_path / "home", own_ports, kafka_heap_mib=HEAP_MIB)
    with stack as urls:
        write_everywhere(urls)
        for pid in stack.pids.values():
            os.kill(pid, signal.SIGKILL)
    assert (open_path / "home" / "postgres" / "data" / "postmaster.pid").exists()
    with EmbeddedStack(open_path / "home", own_ports, kafka_heap_mib=HEAP_MIB) as urls:
        assert read_everywhere(urls)[:2] == KEPT[:2]  # Valkey may lose its last second, and says so


@pytest.mark.parametrize("field", ["kafka", "kafka_controller", "postgres", "valkey"])
def test_a_taken_port_is_named_and_nothing_stays_behind(
    field: str, open_path: Path, own_ports: Ports
) -> None:
    port = getattr(own_ports, field)
    stack = EmbeddedStack(open_path / "home", own_ports, kafka_heap_mib=HEAP_MIB)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(CannotStart, match=f"Port {port} ") as refused,
    ):
        stack.start()
    assert "QUIZSTREAM_PORT_BASE" in refused.value.message
    assert "\n" not in refused.value.message
    assert stack.pids == {}
    assert descendants_named(("java", "postgres", "valkey-server"), open_path) == []


def descendants_named(names: tuple[str, ...], home: Path) -> list[psutil.Process]:
    """Our children of these names whose working directory lies in `home`."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.name() in names and str(home) in child.cwd()
    ]


def test_a_server_given_by_its_url_is_used_and_not_started(open_path: Path, stack: ServerUrls) -> None:
    given = {**stack.as_env()}
    nothing_to_start = EmbeddedStack(open_path / "home", free_ports(), env=given)
    with nothing_to_start as urls:
        assert urls == stack
        assert nothing_to_start.pids == {}

"""An edge whose connections are all in use still answers: no address has all, and idle ones are closed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from msgspec.structs import replace

from ops.embedded.stack import ServerUrls
from pipeline.topology.file import Connections, Sources
from tests.support.edge import Edge, prepare, running, settings_for, wait_ready, wait_until
from tests.support.sinks import counted

HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
ONE, OTHER = "127.0.0.1", "127.0.0.2"


@contextmanager
def limited(stack: ServerUrls, namespace: str, **limits: int) -> Iterator[Edge]:
    """An edge that trusts no address."""
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    connections = Connections(
        **{"total_max": 1000, "per_address_max": 1000, "descriptors_reserve": 1} | limits
    )
    edge = replace(topology.edge, connections=connections, sources=Sources(trusted=("127.0.0.9",)))
    with running(settings, replace(topology, edge=edge)) as one:
        wait_ready(one)
        wait_until(lambda: counted("quizstream_edge_connections") == 0, "no connection")
        yield one


def connect(edge: Edge, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", edge.port), timeout=60, source_address=(address, 0))


def answer(connection: socket.socket, head: bytes = HEAD + b"\r\n") -> bytes:
    try:
        connection.sendall(head)
        return connection.recv(65_536)
    except ConnectionError:
        return b""


def test_an_address_has_so_many_connections_and_others_are_served(stack: ServerUrls, namespace: str) -> None:
    before = counted("quizstream_edge_connections_refused_total", limit="address")
    with limited(stack, namespace, per_address_max=3) as edge, ExitStack() as held:
        for _ in range(3):
            assert b" 200 " in answer(held.enter_context(connect(edge, ONE)))
        refused = held.enter_context(connect(edge, ONE)).recv(65_536)
        assert b" 429 " in refused
        assert b"retry-after: " in refused
        assert b"/problems/too-many-connections" in refused
        assert b" 200 " in answer(held.enter_context(connect(edge, OTHER)))
        for _ in range(5):
            assert b" 200 " in answer(held.enter_context(connect(edge, "127.0.0.9")))
        held.close()
        wait_until(lambda: counted("quizstream_edge_connections") == 0, "no connection")
        with connect(edge, ONE) as again:
            assert b" 200 " in answer(again)
    assert counted("quizstream_edge_connections_refused_total", limit="address") == before + 1


def test_idle_connections_give_way_to_new_ones(stack: ServerUrls, namespace: str) -> None:
    closed = counted("quizstream_edge_idle_connections_closed_total")
    with limited(stack, namespace, total_max=20) as edge, ExitStack() as held:
        for _ in range(20):
            assert b" 200 " in answer(held.enter_context(connect(edge, ONE)))
        for _ in range(60):
            assert b" 200 " in answer(held.enter_context(connect(edge, OTHER)))
        wait_until(lambda: counted("quizstream_edge_connections") <= 21, "the limit holds")
    assert counted("quizstream_edge_idle_connections_closed_total") >= closed + 58


def test_requests_under_way_are_kept_and_new_connections_refused(stack: ServerUrls, namespace: str) -> None:
    before = counted("quizstream_edge_connections_refused_total", limit="total")
    begun = b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with limited(stack, namespace, total_max=5) as edge, ExitStack() as held:
        busy = [held.enter_context(connect(edge, ONE)) for _ in range(5)]
        for connection in busy:
            connection.sendall(begun + b"Content-Length: 14\r\nExpect: 100-continue\r\n\r\n")
            assert b" 100 " in connection.recv(65_536)
        refused = held.enter_context(connect(edge, OTHER)).recv(65_536)
        assert b" 503 " in refused
        assert b"/problems/overloaded" in refused
        for connection in busy:
            assert b" 202 " in answer(connection, b'{"answers":{}}')
    assert counted("quizstream_edge_connections_refused_total", limit="total") == before + 1

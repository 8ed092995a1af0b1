"""A listener that leaves a shared port resets no connection, and those that come then reach the other."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest_api.http.leaving import accept_rest, take_no_new
from ingest_api.http.sockets import listening
from pipeline.errors import CannotStart
from tests.support.ports import free_ports

WAITING = 200
only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has the filter")


@pytest.fixture
def pair() -> Iterator[tuple[int, socket.socket, socket.socket]]:
    port = free_ports().edge
    first, second = (
        next(one for one in listening("127.0.0.1", port, 1024, shared=True) if one.family == socket.AF_INET)
        for _ in range(2)
    )
    with first, second:
        yield port, first, second


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def greet(connection: socket.socket) -> None:
    with connection:
        connection.sendall(b"served")


def is_served(connection: socket.socket) -> bool:
    with connection:
        try:
            return connection.recv(10) == b"served"
        except ConnectionError:
            return False


@only_linux
def test_every_connection_is_served_while_one_of_two_leaves(
    pair: tuple[int, socket.socket, socket.socket],
) -> None:
    port, leaving, staying = pair
    leaving.listen(1024)
    staying.listen(1024)
    stopping = threading.Event()

    def serve() -> None:
        staying.settimeout(0.05)
        while not stopping.is_set():
            try:
                greet(staying.accept()[0])
            except TimeoutError:
                continue

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            early = [connect(port) for _ in range(WAITING)]
            during = [pool.submit(connect, port) for _ in range(WAITING)]
            assert take_no_new(leaving)
            rest = accept_rest(leaving)
            late = [pool.submit(connect, port) for _ in range(WAITING)]
            assert rest, "some of them waited in its queue"
            for connection in rest:
                greet(connection)
            clients = [*early, *(one.result() for one in (*during, *late))]
            assert all(pool.map(is_served, clients))
    finally:
        stopping.set()
        serving.join()


@only_linux
def test_without_the_filter_and_the_queue_they_are_reset(
    pair: tuple[int, socket.socket, socket.socket],
) -> None:
    """What the two functions are for: should Linux one day not reset them, they can go."""
    port, leaving, _staying = pair
    leaving.listen(1024)
    waiting = connect(port)
    leaving.close()
    assert not is_served(waiting)


def test_a_shared_port_is_bound_at_once_and_has_no_clients_before_it_listens() -> None:
    port = free_ports().edge
    bound = listening("127.0.0.1", port, 1024, shared=True)
    try:
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        bound[0].listen(1024)
        connect(port).close()
        with pytest.raises(CannotStart):
            listening("127.0.0.1", port, 1024)
    finally:
        for one in bound:
            one.close()

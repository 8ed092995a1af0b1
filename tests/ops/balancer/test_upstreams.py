"""nginx and the edges behind it: shares, what is tried again, and clients that hold on."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ops.balancer.place import Place, Server
from tests.support.balanced import ADDRESS_LIMIT, BODY, Balanced, ask, at, submit, talk
from tests.support.edge import wait_until
from tests.support.ports import free_ports

pytestmark = pytest.mark.xdist_group("balancer")


def test_slow_clients_are_closed_and_reach_no_edge(balanced: Balanced, tmp_path: Path) -> None:
    topology = balanced.edges[0].topology
    quick = replace(topology.balancer, header_timeout_s=0.2, body_timeout_s=0.2)
    counting = Counting()
    place = Place(
        (Server(f"127.0.0.1:{counting.port}"),),
        free_ports().edge,
        addresses=("127.0.0.1",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    head = b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    try:
        with at(tmp_path, replace(topology, balancer=quick), place, "slow"):
            for unfinished in (b"", b"POST /qu", head, head + b"\r\n", head + b"\r\n{"):
                answer = talk(place.port, unfinished)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer
        assert counting.requests == []
    finally:
        counting.close()


def test_both_edges_serve_by_weight(balanced: Balanced) -> None:
    before = len(balanced.lines())
    for _ in range(40):
        ask(balanced.port, "/ping", method="POST", body=b"")

    def served() -> list[str]:
        return [line["edge"] for line in balanced.lines()[before:] if line["route"] == "ping"]

    wait_until(lambda: len(served()) == 40, "the lines of the log")
    assert [served().count(f"127.0.0.1:{edge.port}") for edge in balanced.edges] == [30, 10]


class Counting:
    """A server in an edge's place that takes each request and then breaks the connection."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65_536))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Holding:
    """A server in an edge's place that answers no request before it is let go."""

    def __init__(self) -> None:
        self.requests = 0
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            connection.recv(65_536)
            self._held.append(connection)
            self.requests += 1

    def has(self, requests: int) -> bool:
        return self.requests == requests

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._held:
            connection.close()


def test_a_client_has_so_many_requests_at_once_and_ipv6_is_counted_by_network(
    balanced: Balanced, tmp_path: Path
) -> None:
    topology = balanced.edges[0].topology
    topology = replace(topology, balancer=replace(topology.balancer, requests_per_address_max=1))
    holding = Holding()
    place = Place(
        (Server(f"127.0.0.1:{holding.port}"),),
        free_ports().edge,
        addresses=("127.0.0.1",),
        proxy_protocol=True,
        before=("127.0.0.1/32",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    request = b"GET /problems HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    def begin(address: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", place.port), timeout=60)
        to = b"TCP6 %b ::1" if ":" in address else b"TCP4 %b 127.0.0.1"
        connection.sendall(b"PROXY " + to % address.encode() + b" 4711 80\r\n" + request)
        return connection

    try:
        with at(tmp_path, topology, place, "held"), contextlib.ExitStack() as held:
            others = [
                "2001:db8:1:2::1",
                "2001:db8:1:3::1",
                "2001:db8::1",
                "2001:db9::1",
                "192.0.2.1",
                "192.0.2.2",
            ]
            for number, address in enumerate(others, 1):
                held.enter_context(begin(address))
                wait_until(partial(holding.has, number), f"the request of {address}")
            for same in ("2001:db8:1:2:ffff::9", "2001:db8:1:3:1:2:3:4", "2001:db8::2", "192.0.2.1"):
                with begin(same) as refused:
                    answer = refused.recv(65_536)
                assert answer.startswith(b"HTTP/1.1 429 "), (same, answer)
                assert b"/problems/too-many-connections" in answer
                assert b"Retry-After: " in answer
    finally:
        holding.close()


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "k"}])
def test_a_post_that_an_edge_may_have_is_never_sent_twice(
    balanced: Balanced, tmp_path: Path, key: dict[str, Any]
) -> None:
    breaking = [Counting(), Counting()]
    place = Place(
        tuple(Server(f"127.0.0.1:{one.port}") for one in breaking),
        free_ports().edge,
        addresses=("127.0.0.1",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    try:
        with at(tmp_path, balanced.edges[0].topology, place, "breaking"):
            answer = ask(
                place.port, "/quiz/survey/completions", method="POST", body=BODY,
                content_type="application/json", **key,
            )  # fmt: skip
            assert answer.status == 503
            assert answer.headers["retry-after"]
            assert answer.headers["access-control-expose-headers"] == "retry-after"
            assert json.loads(answer.body)["type"] == "/problems/log-unavailable"
            assert sum(len(one.requests) for one in breaking) == 1
            assert ask(place.port, "/problems").status == 503  # a page is read from each
            assert sum(len(one.requests) for one in breaking) == 3
    finally:
        for one in breaking:
            one.close()


def test_a_post_is_offered_to_the_next_edge_where_one_does_not_listen(
    balanced: Balanced, tmp_path: Path
) -> None:
    ports = free_ports()
    place = Place(
        (Server(f"127.0.0.1:{ports.console}", 10), Server(f"127.0.0.1:{balanced.edges[0].port}")),
        ports.edge,
        addresses=("127.0.0.1",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    with at(tmp_path, balanced.edges[0].topology, place, "refusing"):
        for number in range(ADDRESS_LIMIT):
            assert submit(place.port, "127.0.3.1", idempotency_key=f"{number}").status == 202

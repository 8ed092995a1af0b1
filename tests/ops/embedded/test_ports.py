"""A home's ports come from one base, and a taken one is named."""

from __future__ import annotations

import dataclasses
import os
import socket

import pytest

from ops.embedded.port_check import require_free
from pipeline.errors import CannotStart
from pipeline.runtime.ports import EDGES_MAX, PORT_OFFSET_MAX, WORKERS_MAX, Ports


def test_no_two_listeners_share_a_port_and_all_lie_in_the_stated_range() -> None:
    ports = dataclasses.astuple(Ports.from_base(21000))
    assert len(set(ports)) == len(ports)
    assert min(ports) == 21000
    assert max(ports) == 21000 + PORT_OFFSET_MAX


def test_each_worker_of_a_host_has_a_port_of_its_own_in_the_table() -> None:
    ports = Ports.from_base(21000)
    assert ports.worker(0) == ports.worker_metrics
    workers = [ports.worker(number) for number in range(WORKERS_MAX)]
    assert len({*workers, *dataclasses.astuple(ports)}) == WORKERS_MAX + len(dataclasses.astuple(ports)) - 1
    assert max(workers) < 21000 + PORT_OFFSET_MAX
    with pytest.raises(CannotStart, match=f"worker {WORKERS_MAX} has no port: .* 0 to {WORKERS_MAX - 1}"):
        ports.worker(WORKERS_MAX)


def test_each_of_several_edges_of_a_host_has_a_port_of_its_own_in_the_table() -> None:
    ports = Ports.from_base(21000)
    own = [ports.edge_own(number) for number in range(EDGES_MAX)]
    workers = [ports.worker(number) for number in range(1, WORKERS_MAX)]
    taken = {*own, *workers, *dataclasses.astuple(ports)}
    assert len(taken) == EDGES_MAX + WORKERS_MAX - 1 + len(dataclasses.astuple(ports))
    with pytest.raises(CannotStart, match=f"edge {EDGES_MAX} has no port: .* 0 to {EDGES_MAX - 1}"):
        ports.edge_own(EDGES_MAX)


def test_the_base_comes_from_the_environment() -> None:
    assert Ports.from_env({}).edge == 8600
    assert Ports.from_env({"QUIZSTREAM_PORT_BASE": "9000"}).kafka == 9092


@pytest.mark.parametrize("text", ["eighty", "80", "65500", "-1"])
def test_an_impossible_base_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(CannotStart, match="QUIZSTREAM_PORT_BASE") as refused:
        Ports.from_env({"QUIZSTREAM_PORT_BASE": text})
    assert "\n" not in refused.value.message


def test_a_taken_port_is_named_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"Port {port} \(Kafka\) is taken by process {os.getpid()}"):
            require_free(port, "Kafka")


def test_a_port_whose_listener_has_just_left_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # this side closes first, so that it is the port's side that waits
        client.close()
    require_free(port, "Kafka")

"""The start and the stop of an edge, as clients see them: they wait for one and lose nothing by the other."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

from ingest_api.http.lifecycle import Lifecycle, Stage
from ops.embedded.stack import ServerUrls
from tests.ingest_api.test_server import listens
from tests.support.edge import prepare, running, settings_for, wait_ready, wait_until
from tests.support.sinks import counted

PING = b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def test_requests_wait_for_the_start_and_then_pass() -> None:
    order: list[str] = []

    async def story() -> None:
        ready = False
        lifecycle = Lifecycle()

        async def join() -> None:
            order.append("joined")
            assert lifecycle.pending

        lifecycle.join = join

        async def request(name: str) -> None:
            await lifecycle.started()
            order.append(name)

        requests = [asyncio.create_task(request("first")), asyncio.create_task(request("second"))]
        starting = asyncio.create_task(lifecycle.start(lambda: ready))
        await asyncio.sleep(0)
        assert order == []
        ready = True
        await starting
        await asyncio.gather(*requests)
        assert lifecycle.stage is Stage.SERVING
        assert not lifecycle.pending

    asyncio.run(story())
    assert order[0] == "joined"
    assert sorted(order[1:]) == ["first", "second"]


def test_a_start_that_takes_too_long_holds_no_request() -> None:
    async def story() -> None:
        now_s = 0.0
        lifecycle = Lifecycle(lambda: now_s, start_wait_s=5.0)
        now_s = 5.0
        await asyncio.wait_for(lifecycle.started(), 60)
        assert not lifecycle.pending
        lifecycle.stop()
        await lifecycle.start(lambda: True)
        assert lifecycle.stage is Stage.STOPPING, "a stop during the start is final"

    asyncio.run(story())


def test_a_completion_that_comes_during_the_start_is_accepted(stack: ServerUrls, namespace: str) -> None:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    waited = counted("quizstream_edge_start_waits_total")
    with running(settings, topology) as edge:
        live = edge.ask("GET", "/health/live")
        answers = [edge.submit("survey", {"answers": {}}) for _ in range(3)]
        assert live.status == 200
        assert [answer.status for answer in answers] == [202] * 3
    assert counted("quizstream_edge_start_waits_total") > waited


def test_a_stopping_edge_answers_what_is_on_its_way_and_then_closes(
    stack: ServerUrls, namespace: str
) -> None:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    with running(settings, topology) as edge:
        wait_ready(edge)
        idle, used, new = (socket.create_connection(("127.0.0.1", edge.port), timeout=60) for _ in range(3))
        for one in (idle, used):
            one.sendall(PING)
            assert b" 200 " in one.recv(65_536)
        with closing(idle), closing(used), closing(new):
            edge.stop()
            wait_until(lambda: edge.lifecycle.stage is Stage.STOPPING, "the stop begins")
            for one in (used, new):
                one.sendall(PING)
                answer = one.recv(65_536)
                assert b" 200 " in answer
                assert b"connection: close" in answer
                assert one.recv(1) == b""
            assert not listens(edge.port)
            assert idle.recv(1) == b"", "closed at last"

"""What a client gets beyond the limit, and who takes a place: by the handler, and over HTTP."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest
from msgspec.structs import replace
from starlette.types import Message

from ingest_api.admission.admitted import RETRY_MAX_S, RETRY_MIN_S, Admitted
from ingest_api.admission.concurrency import ConcurrencyLimit
from ingest_api.http.reply import Receive, Reply, Scope
from ops.embedded.stack import ServerUrls
from pipeline.topology.file import Admission
from tests.support.edge import Edge, prepare, running, settings_for, wait_ready

ONE_AT_ONCE = Admission(
    delay_max_ms=60_000, in_work_min=1, in_work_max=1, adjust_ms=10, late_for_ms=500, calm_for_ms=5000
)
SLOW_CLIENTS = 20
POST: Scope = {"type": "http", "method": "POST"}


async def no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class Held:
    """A handler that answers when it is let go."""

    def __init__(self) -> None:
        self.handled = 0
        self.let_go = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive) -> Reply:
        self.handled += 1
        await receive()
        await self.let_go.wait()
        return Reply(202, b"{}")


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_beyond_the_limit_503_is_answered_at_once_and_says_when_to_come_again(chance: float) -> None:
    async def story() -> None:
        held = Held()
        limit = ConcurrencyLimit(ONE_AT_ONCE, lambda: 0.0)
        admitted = Admitted(held, limit, 0.01, lambda: chance)
        first = asyncio.create_task(admitted(POST, no_body))
        await asyncio.sleep(0)
        assert limit.in_work == 1
        rejected = await admitted(POST, no_body)
        assert (rejected.status, rejected.problem, held.handled) == (503, "overloaded", 1)
        after_s = int(dict(rejected.headers)[b"retry-after"])
        assert RETRY_MIN_S <= after_s <= RETRY_MAX_S
        held.let_go.set()
        assert (await first).status == 202
        assert (await admitted(POST, no_body)).status == 202
        assert limit.in_work == 0

    asyncio.run(story())


def test_a_handler_that_fails_or_whose_client_goes_leaves_its_place() -> None:
    async def failing(_scope: Scope, _receive: Receive) -> Reply:
        raise RuntimeError

    async def story() -> None:
        limit = ConcurrencyLimit(ONE_AT_ONCE, lambda: 0.0)
        for handle in (failing, Held()):
            task = asyncio.create_task(Admitted(handle, limit, 0.01, lambda: 0.0)(POST, no_body))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((RuntimeError, asyncio.CancelledError)):
                await task
            assert limit.in_work == 0

    asyncio.run(story())


def test_clients_that_do_not_send_their_body_take_no_place(stack: ServerUrls, namespace: str) -> None:
    """With room for one completion, some clients hold their bodies back and the others are served."""
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    topology = replace(topology, edge=replace(topology.edge, admission=ONE_AT_ONCE))
    with running(settings, topology) as edge, ExitStack() as open_sockets:
        wait_ready(edge)
        for _ in range(SLOW_CLIENTS):
            open_sockets.enter_context(_held_body(edge))
        for _ in range(3):
            assert edge.submit("survey", {"answers": {}}).status == 202


def _held_body(edge: Edge) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", edge.port))
    client.sendall(
        b"POST /quiz/survey/completions HTTP/1.1\r\nhost: quiz\r\ncontent-type: application/json\r\n"
        b'content-length: 15\r\n\r\n{"answers"'
    )
    return client

"""The server accepts what waits in the queues of its ports when it leaves them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

from ingest_api.http.lifecycle import Lifecycle, Stage
from ingest_api.http.serving import EdgeServer
from ingest_api.http.sockets import listening

WAITING = 50


class Greet(asyncio.Protocol):
    """An HTTP protocol's stand-in that answers at once."""

    def __init__(self, **_given: Any) -> None: ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"served")
        transport.close()


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None: ...


def test_connections_that_nobody_accepted_yet_are_served_at_the_stop() -> None:
    async def story() -> list[bytes]:
        lifecycle = Lifecycle()
        config = uvicorn.Config(nothing, http=Greet, lifespan="off", log_config=None)
        own, shared = listening("127.0.0.1", 0, 1024), listening("127.0.0.1", 0, 0, shared=True)
        server = EdgeServer(config, lifecycle, shared)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup(own)
        await lifecycle.start(lambda: True)
        assert lifecycle.stage is Stage.SERVING
        # The loop accepts nothing while this runs without a pause.
        ports = [listener.getsockname()[1] for listener in (own[0], shared[0])]
        clients = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(WAITING)]
        await server.shutdown(own)
        served = []
        for client in clients:
            with client:
                client.settimeout(60)
                try:
                    served.append(client.recv(10))
                except ConnectionError:
                    served.append(b"reset")
        return served

    assert asyncio.run(story()) == [b"served"] * 2 * WAITING

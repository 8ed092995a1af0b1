"""uvicorn's server, with a start and a stop that lose no connection of several edges at one port."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from ingest_api.http.leaving import accept_rest, take_no_new
from ingest_api.http.lifecycle import Lifecycle
from ingest_api.http.metrics import AT_SHARED_PORT

log = logging.getLogger(__name__)

# Handshakes that have begun at the shared port end within it, from anywhere in the world. A client that
# begins one meanwhile connects a second late.
HANDSHAKES_S = 0.4
JOIN_RETRY_S = 1.0


@dataclass(frozen=True)
class _Listening:
    """`listener` is a second descriptor of the socket on which `server` accepts: it stays open without it."""

    server: asyncio.AbstractServer
    listener: socket.socket


class EdgeServer(uvicorn.Server):
    """Serves on the sockets that it is run with; on `shared` ones from `lifecycle.join` on."""

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, shared: Sequence[socket.socket] = ()
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._shared = tuple(shared)
        self._own: list[_Listening] = []
        self._joined: list[_Listening] = []
        lifecycle.join = self._join

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        spare = [one.dup() for one in sockets or ()]
        await super().startup(sockets)
        self._own = [_Listening(server, one) for server, one in zip(self.servers, spare, strict=False)]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave the shared port, then the own one; answer everything that was accepted."""
        self._lifecycle.stop()
        AT_SHARED_PORT.set(0)
        for one in self._joined:
            take_no_new(one.listener)
        await self._leave(self._own)
        if self._joined:
            await asyncio.sleep(HANDSHAKES_S)
            await self._leave(self._joined)
        await super().shutdown(sockets)

    async def _join(self) -> None:
        """Return once it accepts at the shared port."""
        loop = asyncio.get_running_loop()
        for bound in self._shared:
            spare = bound.dup()
            while True:
                try:
                    server = await loop.create_server(self._protocol, sock=bound, backlog=self.config.backlog)
                    break
                except OSError as error:
                    log.error("cannot listen at the shared port (%s); retrying in %g s", error, JOIN_RETRY_S)
                    await asyncio.sleep(JOIN_RETRY_S)
            self._joined.append(_Listening(server, spare))
        if self._joined:
            AT_SHARED_PORT.set(1)
            log.info("accepts connections at the shared port %d", self._joined[0].listener.getsockname()[1])

    async def _leave(self, listening: Sequence[_Listening]) -> None:
        loop = asyncio.get_running_loop()
        for one in listening:
            take_no_new(one.listener)
            one.server.close()
        for one in listening:
            for connection in accept_rest(one.listener):
                await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

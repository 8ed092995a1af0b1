"""A TCP proxy between two parts that can delay, drop and swallow bytes.

One proxy is one link. All methods are coroutines of one event loop.
"""

from __future__ import annotations

import asyncio
import random
from typing import Literal

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65_536
DELAY_S_MAX = 0.3

Mode = Literal["pass", "delay", "drop", "replies_lost"]


class _Pair:
    """One connection: both streams, and whether bytes were swallowed."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.maimed = False

    def abort(self) -> None:
        """Reset both sides."""
        self.client.transport.abort()
        self.server.transport.abort()


class Link:
    """Passes bytes from its port to `upstream_port`, both on loopback."""

    def __init__(self, name: str, upstream_port: int, rng: random.Random) -> None:
        self.name = name
        self.port = 0
        self.mode: Mode = "pass"
        self._upstream_port = upstream_port
        self._rng = rng
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Open the link; return its port."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.abort()

    async def misbehave(self, mode: Mode) -> None:
        """Misbehave from now on. `pass` ends it and resets the connections that lost bytes."""
        self.mode = mode
        for pair in list(self._pairs):
            if mode == "drop" or (mode == "pass" and pair.maimed):
                pair.abort()

    async def half_close(self) -> int:
        """Close the server's direction of every connection; return their number."""
        pairs = list(self._pairs)
        for pair in pairs:
            if not pair.client.is_closing():
                pair.client.write_eof()
        return len(pairs)

    @property
    def connections(self) -> int:
        return len(self._pairs)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.mode == "drop":
            client.transport.abort()
            return
        try:
            answers, server = await asyncio.open_connection(LOOPBACK, self._upstream_port)
        except OSError:
            client.transport.abort()
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._ask(reader, pair), self._answer(answers, pair))
        except (OSError, asyncio.IncompleteReadError, RuntimeError):
            pair.abort()  # one side has closed; a half-closed side accepts no more bytes
        finally:
            self._pairs.discard(pair)
            pair.client.close()
            pair.server.close()

    async def _ask(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while data := await reader.read(CHUNK_BYTES):
            pair.maimed = pair.maimed or self.mode == "replies_lost"
            await self._linger()
            pair.server.write(data)
            await pair.server.drain()
        if pair.server.can_write_eof() and not pair.server.is_closing():
            pair.server.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        while data := await reader.read(CHUNK_BYTES):
            pair.maimed = pair.maimed or self.mode == "replies_lost"
            if pair.maimed:
                continue
            await self._linger()
            pair.client.write(data)
            await pair.client.drain()
        if not pair.maimed and pair.client.can_write_eof() and not pair.client.is_closing():
            pair.client.write_eof()

    async def _linger(self) -> None:
        if self.mode == "delay":
            await asyncio.sleep(self._rng.uniform(0, DELAY_S_MAX))

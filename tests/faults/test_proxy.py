"""What the proxy does to a connection, seen from both of its ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from ops.chaos.machine.proxy import Link

Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that writes down what it hears, and says it back."""

    def __init__(self) -> None:
        self.heard = b""
        self._more = asyncio.Event()

    async def hears(self, said: bytes) -> None:
        while self.heard != said:
            self._more.clear()
            await self._more.wait()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            self.heard += data
            self._more.set()
            writer.write(data)
        writer.close()


def through_a_link(story: Callable[[Link, Echo, Talk], Awaitable[None]]) -> None:
    async def tell() -> None:
        echo = Echo()
        link = Link("test", await echo.start(), random.Random(1))
        await link.open()
        talk = await asyncio.open_connection("127.0.0.1", link.port)
        try:
            async with asyncio.timeout(20):
                await story(link, echo, talk)
        finally:
            talk[1].close()
            await link.close()

    asyncio.run(tell())


async def ask(talk: Talk, said: bytes) -> bytes:
    talk[1].write(said)
    return await talk[0].readexactly(len(said))


def test_it_passes_what_is_said() -> None:
    async def story(link: Link, _echo: Echo, talk: Talk) -> None:
        assert await ask(talk, b"hello") == b"hello"
        assert link.connections == 1

    through_a_link(story)


def test_a_delay_changes_no_byte() -> None:
    async def story(link: Link, _echo: Echo, talk: Talk) -> None:
        await link.misbehave("delay")
        assert await ask(talk, b"hello") == b"hello"

    through_a_link(story)


def test_a_drop_resets_what_is_open_and_what_comes() -> None:
    async def story(link: Link, _echo: Echo, talk: Talk) -> None:
        await ask(talk, b"hello")
        await link.misbehave("drop")
        assert await talk[0].read() == b"" or talk[0].at_eof()
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await ask(await asyncio.open_connection("127.0.0.1", link.port), b"again")
        await link.misbehave("pass")
        assert await ask(await asyncio.open_connection("127.0.0.1", link.port), b"again") == b"again"

    through_a_link(story)


def test_lost_replies_were_asked_for_all_the_same() -> None:
    async def story(link: Link, echo: Echo, talk: Talk) -> None:
        await ask(talk, b"hello ")
        await link.misbehave("replies_lost")
        talk[1].write(b"COMMIT")
        await echo.hears(b"hello COMMIT")
        await link.misbehave("pass")
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await talk[0].readexactly(1)

    through_a_link(story)


def test_a_half_close_ends_the_servers_side_only() -> None:
    async def story(link: Link, echo: Echo, talk: Talk) -> None:
        await ask(talk, b"hello ")
        assert await link.half_close() == 1
        assert await talk[0].read() == b""
        talk[1].write(b"still here")
        await echo.hears(b"hello still here")

    through_a_link(story)

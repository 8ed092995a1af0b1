"""What is known of a call after each way in which a connection can end: real sockets, a server that
misbehaves.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sinks.connection import IDLE_MAX_S, CannotConnect, Endpoint, Line, Lines, NoReply, NothingWritten, Reply

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = b"POST /v1/1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
REPLY = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'
TIMEOUT_S = 0.5


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Counts connections and requests; `serve` answers each connection."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0
        self.requests = 0

    async def read(self, reader: asyncio.StreamReader) -> None:
        await reader.readexactly(len(REQUEST))
        self.requests += 1

    @asynccontextmanager
    async def running(self) -> Any:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                await self._serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield Endpoint.parse(f"http://127.0.0.1:{port}")
        finally:
            server.close()


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def outcome_with(serve: Callable[[Server], Serve]) -> tuple[Reply | NothingWritten | NoReply, Server]:
    """One call to a server that behaves like this, on a connection that was open before."""

    async def run() -> tuple[Reply | NothingWritten | NoReply, Server]:
        server = Server(lambda reader, writer: serve(server)(reader, writer))
        async with server.running() as endpoint:
            line = await Line.open(endpoint, None, Clock())
            answer = await line.call(REQUEST, not_after=1.0, timeout_s=TIMEOUT_S)
            line.close()
            return answer, server

    return asyncio.run(run())


def test_a_whole_answer_is_a_reply() -> None:
    def serve(server: Server) -> Serve:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read(reader)
            writer.write(REPLY)

        return answer

    answer, server = outcome_with(serve)
    assert answer == Reply(200, b'{"ok":true}', {"content-length": "11"})
    assert server.requests == 1


def test_a_refused_connection_wrote_nothing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = Endpoint.parse(f"http://127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(CannotConnect):
        asyncio.run(Line.open(endpoint, None, Clock()))


def test_no_such_host_wrote_nothing() -> None:
    with pytest.raises(CannotConnect):
        asyncio.run(Line.open(Endpoint.parse("http://no-such-host.invalid"), None, Clock()))


def test_a_server_without_tls_wrote_nothing() -> None:
    async def run() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with Server(hang_up).running() as plain:
            await Lines(Endpoint(plain.host, plain.port, tls=True, path=""), Clock(), idle_max=1).take()

    with pytest.raises(CannotConnect):
        asyncio.run(run())


def test_a_connection_that_ended_while_idle_wrote_nothing() -> None:
    async def run(end: Callable[[asyncio.StreamWriter], None]) -> Reply | NothingWritten | NoReply:
        async def end_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            end(writer)

        async with Server(end_at_once).running() as endpoint:
            line = await Line.open(endpoint, None, Clock())
            await asyncio.sleep(0.05)
            return await line.call(REQUEST, not_after=1.0, timeout_s=TIMEOUT_S)

    for end in (lambda writer: writer.close(), reset):
        assert isinstance(asyncio.run(run(end)), NothingWritten)


def test_the_kernel_is_asked_about_an_end_that_the_event_loop_has_not_seen() -> None:
    """The provider hangs up while this process is busy: no turn of the event loop between that and the
    call.
    """

    async def run() -> Reply | NothingWritten | NoReply:
        with socket.create_server(("127.0.0.1", 0)) as server:
            line = await Line.open(
                Endpoint.parse(f"http://127.0.0.1:{server.getsockname()[1]}"), None, Clock()
            )
            accepted, _ = server.accept()
            accepted.close()
            return await line.call(REQUEST, not_after=1.0, timeout_s=TIMEOUT_S)

    assert isinstance(asyncio.run(run()), NothingWritten)


def test_after_its_time_nothing_is_written() -> None:
    async def run() -> tuple[Reply | NothingWritten | NoReply, int]:
        async def take(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await server.read(reader)

        server = Server(take)
        clock = Clock()
        async with server.running() as endpoint:
            line = await Line.open(endpoint, None, clock)
            clock.now = 2.0
            answer = await line.call(REQUEST, not_after=2.0, timeout_s=TIMEOUT_S)
            await asyncio.sleep(0.05)
            line.close()
            return answer, server.requests

    assert asyncio.run(run()) == (NothingWritten("too long after the mark", too_late=True), 0)


def reset_before_reading(_server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        reset(writer)

    return answer


def reset_after_reading(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        reset(writer)

    return answer


def close_after_reading(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.close()

    return answer


def half_close(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write_eof()
        await asyncio.sleep(TIMEOUT_S)

    return answer


def hang(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        await asyncio.sleep(TIMEOUT_S * 4)

    return answer


def garbage(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")

    return answer


def half_an_answer(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(REPLY[:-4])
        writer.close()

    return answer


def endless_answer(server: Server) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    return answer


@pytest.mark.parametrize(
    "serve",
    [
        reset_before_reading,
        reset_after_reading,
        close_after_reading,
        half_close,
        hang,
        garbage,
        half_an_answer,
        endless_answer,
    ],
)
def test_whatever_happens_after_the_first_byte_proves_nothing_and_is_not_tried_again(
    serve: Callable[[Server], Serve],
) -> None:
    answer, server = outcome_with(serve)
    assert isinstance(answer, NoReply)
    assert server.requests <= 1
    assert server.connections == 1


def test_an_answer_that_was_followed_by_a_reset_is_an_answer() -> None:
    def serve(server: Server) -> Serve:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read(reader)
            writer.write(REPLY)
            await asyncio.sleep(0.05)
            reset(writer)

        return answer

    answer, _ = outcome_with(serve)
    assert isinstance(answer, Reply)


@pytest.mark.parametrize(
    "reply",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ok"\r\n6\r\n:true}\r\n0\r\n\r\n',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}',
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"ok":true}',
    ],
)
def test_every_form_of_a_whole_answer_is_read(reply: bytes) -> None:
    def serve(server: Server) -> Serve:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read(reader)
            for byte in reply:
                writer.write(bytes([byte]))
                await writer.drain()
            writer.close()

        return answer

    answer, _ = outcome_with(serve)
    assert isinstance(answer, Reply)
    assert (answer.status, answer.body) == (200, b'{"ok":true}')


def test_lines_are_used_again_while_they_are_fresh_and_never_when_they_may_be_stale() -> None:
    async def run() -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.read(reader)
                writer.write(REPLY)

        server = Server(answer)
        clock = Clock()
        async with server.running() as endpoint:
            lines = Lines(endpoint, clock, idle_max=2)
            for pause_s in (0.0, IDLE_MAX_S / 2, IDLE_MAX_S * 2):
                clock.now += pause_s
                line = await lines.take()
                assert isinstance(await line.call(REQUEST, not_after=1e9, timeout_s=TIMEOUT_S), Reply)
                lines.give(line)
            lines.close()
        return server.connections

    assert asyncio.run(run()) == 2


def test_an_answer_to_nothing_ends_the_line() -> None:
    """A late answer of an earlier request must never be taken for the answer of the next."""

    async def run() -> bool:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read(reader)
            writer.write(REPLY + REPLY)
            await asyncio.sleep(TIMEOUT_S)

        server = Server(answer)
        async with server.running() as endpoint:
            line = await Line.open(endpoint, None, Clock())
            assert isinstance(await line.call(REQUEST, not_after=1.0, timeout_s=TIMEOUT_S), Reply)
            await asyncio.sleep(0.05)
            return line.usable

    assert not asyncio.run(run())

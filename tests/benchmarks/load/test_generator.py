"""The load generator against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from uuid import UUID

from benchmarks.load.generation import Requests
from benchmarks.load.generator import Constant, Generator, Load, LoadResult

RATE_PER_S = 200.0
STALL_S = 0.3
CLOCK_S = 0.005  # a loop's timer may be as much too early

Answer = Callable[[int, int], Awaitable[int | None]]
"""Key and how often it was asked before, to an HTTP status, or None to cut the connection."""


class Server:
    """Answers keep-alive requests one after the other on each connection."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: dict[int, int] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await reader.readexactly(_number(rb"Content-Length: (\d+)", head))
            key = _number(rb"Idempotency-Key: n(\d+)", head)
            before = self.asked.get(key, 0)
            self.asked[key] = before + 1
            status = await self._answer(key, before)
            if status is None:
                break
            body = b'{"completion_id":"%b"}' % str(UUID(int=key)).encode() if status == 202 else b"{}"
            head_out = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
            # In two parts, as a network may do it.
            writer.write(head_out + body[:5])
            await writer.drain()
            writer.write(body[5:])
        writer.close()


def _number(pattern: bytes, head: bytes) -> int:
    found = re.search(pattern, head)
    assert found is not None
    return int(found[1])


def offer(requests: int, answer: Answer) -> tuple[Requests, Server]:
    """Number 0 is the request before the load."""

    async def run() -> LoadResult:
        server = await asyncio.start_server(mock.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        load = Load("127.0.0.1", port, "token", "quiz", 10, 0, Constant(RATE_PER_S, requests), "")
        try:
            return await Generator(load, random.Random(1)).run()
        finally:
            server.close()

    mock = Server(answer)
    return Requests.of(asyncio.run(run())), mock


async def yes(_key: int, _before: int) -> int:
    return 202


def test_every_request_is_sent_once_and_its_answered_id_kept() -> None:
    got, server = offer(100, yes)
    assert got.unanswered == 0
    assert server.asked == dict.fromkeys(range(101), 1)
    assert list(got.ids()) == [(number, str(UUID(int=number))) for number in range(101)]
    assert list(got.due_s[1:]) == [number / RATE_PER_S for number in range(100)]
    assert (got.result.retries, got.result.refused, got.result.problems) == (0, 0, [])


def test_a_stall_delays_every_request_that_fell_due_in_it() -> None:
    resumed = asyncio.Event()

    async def stall(key: int, _before: int) -> int:
        if key == 20:
            asyncio.get_running_loop().call_later(STALL_S, resumed.set)
        if 20 <= key < 80:
            await resumed.wait()
        return 202

    got, server = offer(100, stall)
    # Requests went on falling due and being sent while none was answered: none waited for another's answer.
    assert server.asked == dict.fromkeys(range(101), 1)
    for number in range(20, 80):
        waited_s = got.answered_s[number] - got.due_s[number]
        assert waited_s >= STALL_S - (number - 20) / RATE_PER_S - CLOCK_S


def test_a_refused_or_cut_off_request_is_sent_again_with_its_key() -> None:
    async def moody(key: int, before: int) -> int | None:
        if before == 0 and key == 10:
            return 503
        if before == 0 and key == 11:
            return None
        return 202

    got, server = offer(30, moody)
    assert got.unanswered == 0
    assert server.asked[10] == server.asked[11] == 2
    assert got.result.retries == 2
    # The latency of the second try counts from when the first was due.
    assert got.answered_s[10] - got.due_s[10] >= 0.4


def test_a_request_that_is_refused_for_good_has_no_id() -> None:
    async def picky(key: int, _before: int) -> int:
        return 422 if key == 5 else 202

    got, _ = offer(10, picky)
    assert got.result.refused == got.unanswered == 1
    assert got.answered_s[5] < 0
    assert 5 not in dict(got.ids())
    assert "422" in got.result.problems[0]

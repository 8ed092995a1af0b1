"""Users wait for their answer, send again what got none with the same key, and think in between."""

from __future__ import annotations

import asyncio
import random
import re
from uuid import UUID

from benchmarks.load.generation import Requests
from benchmarks.load.generator import Generator, Load, Users


class Edge:
    """Answers over HTTP; every seventh request gets a 503, every eleventh loses its connection."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.at_once = self.at_once_max = self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                key = re.search(rb"Idempotency-Key: n(\d+)", head)
                assert length is not None
                assert key is not None
                await reader.readexactly(int(length[1]))
                self.at_once += 1
                self.at_once_max = max(self.at_once_max, self.at_once)
                await asyncio.sleep(0.001)
                self.at_once -= 1
                self.keys.append(key[1])
                if len(self.keys) % 11 == 0:
                    writer.close()
                    return
                refused = len(self.keys) % 7 == 0
                body = b"{}" if refused else b'{"completion_id":"%b"}' % str(UUID(int=int(key[1]))).encode()
                status = b"503 Service Unavailable" if refused else b"202 Accepted"
                writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        except (EOFError, ConnectionError):
            return


async def crowd(edge: Edge, users: int, seconds: float) -> Requests:
    async with await asyncio.start_server(edge.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        load = Load("127.0.0.1", port, "token", "quiz", 10, 0, Users(users, 0.05, seconds), "")
        return Requests.of(await Generator(load, random.Random(1)).run())


def test_every_completion_is_accepted_once_whatever_the_edge_does_to_its_requests() -> None:
    edge = Edge()
    answered = asyncio.run(crowd(edge, users=8, seconds=1.0))

    ids = [completion_id for _, completion_id in answered.ids()]
    assert answered.result.refused == answered.unanswered == 0
    assert answered.result.retries > 0
    assert len(ids) == len(set(ids)) == len(set(edge.keys)) == len(answered.due_s)
    assert len(edge.keys) == len(ids) + answered.result.retries


def test_each_user_has_a_connection_and_no_more_than_one_request_on_it() -> None:
    edge = Edge()
    asyncio.run(crowd(edge, users=3, seconds=0.5))

    assert edge.at_once_max <= 3
    assert edge.connections >= 3


def test_users_think_between_an_answer_and_their_next_completion() -> None:
    answered = asyncio.run(crowd(Edge(), users=4, seconds=1.0))

    requests = len(answered.due_s) - 1
    assert 4 <= requests < 4 * 1.0 / 0.05 * 1.5
    assert all(0 <= due < 1.0 for due in answered.due_s[1:])

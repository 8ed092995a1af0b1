"""Users wait for their answer, send again what got none with the same key, and think in between."""

from __future__ import annotations

import asyncio
import random
import re
from uuid import UUID

from benchmarks.shapes_users_process import Answered, Crowd, Users


class Edge:
    """Answers over HTTP; every seventh request gets a 503, every eleventh loses its connection."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.at_once = self.at_once_max = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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


async def crowd(edge: Edge, users: int, seconds: float) -> Answered:
    async with await asyncio.start_server(edge.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await Users(
            Crowd("127.0.0.1", port, "token", "quiz", 10, users, 0.05, seconds, ""), random.Random(1)
        ).run()


def test_every_completion_is_accepted_once_whatever_the_edge_does_to_its_requests() -> None:
    edge = Edge()
    answered = asyncio.run(crowd(edge, users=8, seconds=1.0))

    assert answered.refused == answered.unanswered == 0
    assert answered.retries > 0
    assert len(answered.ids) == len(set(answered.ids)) == len(set(edge.keys))
    assert len(edge.keys) == len(answered.ids) + answered.retries
    assert len(answered.sent_s) == len(answered.took_s) == 8 * (len(answered.ids) - 1)


def test_no_user_has_two_requests_at_once() -> None:
    edge = Edge()
    asyncio.run(crowd(edge, users=3, seconds=0.5))

    assert edge.at_once_max <= 3

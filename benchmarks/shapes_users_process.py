"""So many people at once, `python -m benchmarks.shapes_users_process`: each answers, waits, and thinks.

Closed loop: a user has one connection and at most one request on it, and sends the next some time after the
answer. Latency counts from when a completion was first sent: a slow server makes users slow, not a queue.

Reads a `Crowd` as JSON from stdin; says `begin <seconds since the epoch>`, then `done`. The file `out` then
holds an `Answered`.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from array import array
from pathlib import Path

import msgspec
import uvloop

from benchmarks.generator import (
    ANSWERS_TIMEOUT_S,
    KNOWN_POLL_S,
    KNOWN_TIMEOUT_S,
    PROBLEMS_KEPT_MAX,
    RETRY_AFTER_S,
    TRANSIENT,
)
from benchmarks.questionnaire import Questionnaire, Wire

LENGTH = b"content-length: "


class Crowd(msgspec.Struct, frozen=True):
    """Thinking is exponential, `think_s` in the mean. Users come evenly within the first `think_s`."""

    host: str
    port: int
    token: str
    quiz_id: str
    matching_percent: int
    users: int
    think_s: float
    seconds: float
    out: str


class Answered(msgspec.Struct, frozen=True):
    """By completion, in the order of the 202s: `sent_s` since `begun_at` and `took_s` as doubles, `ids`.

    The first id is of the completion that was sent before all, to learn whether the edge knows the quiz; it
    has no times. `connections`: as many were opened, one a user where none was lost.
    """

    begun_at: float
    sent_s: bytes
    took_s: bytes
    ids: list[str]
    connections: int
    retries: int
    refused: int
    unanswered: int
    problems: list[str]


class _Accepted(msgspec.Struct):
    completion_id: str


class Users:
    def __init__(self, crowd: Crowd, rng: random.Random) -> None:
        self._crowd = crowd
        self._rng = rng
        quiz = Questionnaire(crowd.quiz_id, crowd.matching_percent)
        self._wire = Wire(quiz, f"{crowd.host}:{crowd.port}", crowd.token)
        self._next = 0
        self._begun_s = 0.0
        self._sent_s, self._took_s = array("d"), array("d")
        self._ids: list[str] = []
        self._connections = self._retries = self._refused = 0
        self._problems: list[str] = []

    async def run(self) -> Answered:
        await self._until_known()
        gc.collect()
        gc.freeze()
        self._begun_s, begun_at = time.perf_counter(), time.time()
        print(f"begin {begun_at!r}", flush=True)
        users = [asyncio.create_task(self._user()) for _ in range(self._crowd.users)]
        _, late = await asyncio.wait(users, timeout=self._crowd.seconds + ANSWERS_TIMEOUT_S)
        for user in late:
            user.cancel()
        for user in users:
            if user not in late:
                user.result()  # raises what broke it
        return Answered(
            begun_at,
            self._sent_s.tobytes(),
            self._took_s.tobytes(),
            self._ids,
            self._connections,
            self._retries,
            self._refused,
            len(late),
            self._problems,
        )

    async def _until_known(self) -> None:
        give_up_s = time.perf_counter() + KNOWN_TIMEOUT_S
        request, line = self._wire.request(self._take()), _Line(self._crowd)
        while True:
            status, body = await line.ask(request)
            if status == b"202":
                self._ids.append(msgspec.json.decode(body, type=_Accepted).completion_id)
                line.close()
                return
            if time.perf_counter() > give_up_s:
                raise SystemExit(f"the edge accepts nothing: {status.decode()} {body[:200]!r}")
            await asyncio.sleep(KNOWN_POLL_S)

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    async def _user(self) -> None:
        line = _Line(self._crowd)
        await asyncio.sleep(self._rng.uniform(0.0, self._crowd.think_s))
        while time.perf_counter() - self._begun_s < self._crowd.seconds:
            await self._complete(line, self._wire.request(self._take()))
            await asyncio.sleep(self._rng.expovariate(1.0 / self._crowd.think_s))
        self._connections += line.opened
        line.close()

    async def _complete(self, line: _Line, request: bytes) -> None:
        """Until it is accepted, always with its key, as every client does that got no answer."""
        began_s = time.perf_counter()
        while True:
            try:
                status, body = await line.ask(request)
            except (OSError, EOFError) as error:
                line.close()
                status, body = b"503", repr(error).encode()
            if status == b"202":
                self._sent_s.append(began_s - self._begun_s)
                self._took_s.append(time.perf_counter() - began_s)
                self._ids.append(msgspec.json.decode(body, type=_Accepted).completion_id)
                return
            if len(self._problems) < PROBLEMS_KEPT_MAX:
                self._problems.append(f"{status.decode()} {body[:200]!r}")
            if status not in TRANSIENT:
                self._refused += 1
                return
            self._retries += 1
            await asyncio.sleep(RETRY_AFTER_S)


class _Line:
    """A user's keep-alive connection, opened when it is needed."""

    def __init__(self, crowd: Crowd) -> None:
        self._address = (crowd.host, crowd.port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.opened = 0

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Status and body. Raises OSError or EOFError where the connection breaks."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
            self.opened += 1
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.index(LENGTH) + len(LENGTH)
        return head[9:12], await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _crowd(crowd: Crowd) -> Answered:
    return await Users(crowd, random.Random(crowd.users)).run()


def main() -> None:
    crowd = msgspec.json.decode(sys.stdin.buffer.read(), type=Crowd)
    answered = uvloop.run(_crowd(crowd))
    Path(crowd.out).write_bytes(msgspec.msgpack.encode(answered))
    print("done", flush=True)


if __name__ == "__main__":
    main()

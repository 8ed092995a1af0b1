"""The load, `python -m benchmarks.generator`: completions over HTTP at a constant rate, whatever happens.

Open loop: the n-th request is due at begin + n / rate, and its latency counts from then, not from when it
could be written. A stall of the server is thus paid by every request that fell due in it ("coordinated
omission" is what a client that waits for answers before it goes on would leave out).

A generator of our own, because none of the known constant-rate ones (wrk2, vegeta, k6, oha) can be had from
the package index that installs this project, each needs a toolchain of its own, and Locust, which can,
spends more CPU on a request than the edge does. This one writes ready bytes to keep-alive connections from
one loop: 25-30 us a request, measured, in a process of its own whose CPU time is part of every result.

Reads a `Load` as JSON from stdin. On stdout: `begin <seconds since the epoch>` as the load begins, then
`done`. The file `out` then holds a `Told`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.questionnaire import Questionnaire, Wire

TICK_S = 0.001
CONNECTIONS_MAX = 256
RETRY_AFTER_S = 0.5
ANSWERS_TIMEOUT_S = 60.0  # for the last answers, after the last request
KNOWN_POLL_S = 0.1
KNOWN_TIMEOUT_S = 30.0  # what the edge may take to hear of a new quiz
PROBLEMS_KEPT_MAX = 10
UUID_CHARS = 36
TRANSIENT = (b"408", b"425", b"429", b"500", b"502", b"503", b"504")
_ID = b'"completion_id":"'
_LENGTH = b"content-length: "


class Load(msgspec.Struct, frozen=True):
    """`requests` at `rate_per_s`; one more, numbered last, is offered before all until the edge takes it."""

    host: str
    port: int
    token: str
    quiz_id: str
    matching_percent: int
    first_key: int
    rate_per_s: float
    requests: int
    out: str


class Told(msgspec.Struct, frozen=True):
    """By number of request: seconds from `begun_at` to its 202, negative without one; and the ids that were
    answered, 36 characters each, blank without one.
    """

    begun_at: float
    rate_per_s: float
    answered_s: bytes
    ids: bytes
    retries: int
    refused: int
    problems: list[str]
    connections: int

    def intended_at(self, number: int) -> float:
        """Seconds since the epoch."""
        return self.begun_at + number / self.rate_per_s


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._parts = b""
        self.number = -1
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's are of no such class
        self._generator.free(self)

    def send(self, number: int, request: bytes) -> None:
        assert self.transport is not None
        self.number = number
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        answer = self._parts + data if self._parts else data
        head_end = answer.find(b"\r\n\r\n")
        at = answer.find(_LENGTH, 0, head_end)
        if head_end < 0 or at < 0:
            self._parts = answer
            return
        length = int(answer[at + len(_LENGTH) : answer.find(b"\r\n", at)])
        if len(answer) < head_end + 4 + length:
            self._parts = answer
            return
        self._parts = b""
        number, self.number = self.number, -1
        self._generator.answered(number, answer[9:12], answer, head_end + 4)
        self._generator.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.lost(self)


class Generator:
    def __init__(self, load: Load) -> None:
        self._load = load
        quiz = Questionnaire(load.quiz_id, load.matching_percent)
        self._wire = Wire(quiz, f"{load.host}:{load.port}", load.token, load.first_key)
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._connections = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._next = 0
        self._begun_s = 0.0
        self._answered_s = array("d", [-1.0]) * (load.requests + 1)
        self._ids = bytearray(b" " * UUID_CHARS * (load.requests + 1))
        self._open = 0
        self._retries = 0
        self._refused = 0
        self._problems: list[str] = []
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._closing = False

    async def run(self) -> Told:
        await self._until_known()
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes cycles
        self._begun_s = self._loop.time()
        begun_at = time.time()
        print(f"begin {begun_at!r}", flush=True)
        self._tick()
        await self._ended.wait()
        self._closing = True
        return Told(
            begun_at,
            self._load.rate_per_s,
            self._answered_s.tobytes(),
            bytes(self._ids),
            self._retries,
            self._refused,
            self._problems,
            self._connections,
        )

    async def _until_known(self) -> None:
        """An edge that has not heard of the quiz yet refuses it: one request asks until it does not."""
        last = self._load.requests
        give_up_s = self._loop.time() + KNOWN_TIMEOUT_S
        while self._answered_s[last] < 0:
            if self._loop.time() > give_up_s:
                raise SystemExit(f"the edge accepts nothing: {self._problems[-1:]}")
            self._open += 1
            self._settled.clear()
            self._offer(last)
            await self._settled.wait()
            await asyncio.sleep(KNOWN_POLL_S)
        self._refused = 0
        self._problems.clear()

    def _tick(self) -> None:
        load = self._load
        elapsed_s = self._loop.time() - self._begun_s
        due = min(load.requests, int(elapsed_s * load.rate_per_s) + 1)
        while self._next < due:
            self._open += 1
            self._offer(self._next)
            self._next += 1
        if self._next < load.requests:
            self._loop.call_later(max(TICK_S, self._next / load.rate_per_s - elapsed_s), self._tick)
        elif self._open and elapsed_s < load.requests / load.rate_per_s + ANSWERS_TIMEOUT_S:
            self._loop.call_later(0.05, self._tick)
        else:
            self._ended.set()

    def _offer(self, number: int) -> None:
        if self._idle:
            # The one used last: as many connections are warm as are needed.
            self._idle.pop().send(number, self._wire.request(number))
            return
        self._waiting.append(number)
        if self._connections < CONNECTIONS_MAX:
            self._connections += 1
            task = self._loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: Connection(self), self._load.host, self._load.port)
        except OSError as error:
            self._connections -= 1
            self._problem(f"cannot connect: {error}")
            if self._waiting:
                self._again(self._waiting.popleft())

    def free(self, connection: Connection) -> None:
        if self._waiting:
            number = self._waiting.popleft()
            connection.send(number, self._wire.request(number))
        else:
            self._idle.append(connection)

    def answered(self, number: int, status: bytes, answer: bytes, body_at: int) -> None:
        if status == b"202":
            self._answered_s[number] = self._loop.time() - self._begun_s
            at = answer.find(_ID, body_at) + len(_ID)
            self._ids[number * UUID_CHARS : (number + 1) * UUID_CHARS] = answer[at : at + UUID_CHARS]
            self._close()
            return
        self._problem(f"request {number}: {status.decode()} {answer[body_at : body_at + 200]!r}")
        if status in TRANSIENT:
            self._again(number)
        else:
            self._refused += 1
            self._close()

    def _close(self) -> None:
        self._open -= 1
        self._settled.set()

    def lost(self, connection: Connection) -> None:
        self._connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.number >= 0 and not self._closing:
            self._problem(f"request {connection.number}: the connection was lost")
            self._again(connection.number)

    def _again(self, number: int) -> None:
        """With the same key, as every client does that got no answer."""
        self._retries += 1
        self._loop.call_later(RETRY_AFTER_S, self._offer, number)

    def _problem(self, said: str) -> None:
        if len(self._problems) < PROBLEMS_KEPT_MAX:
            self._problems.append(said)


async def _generate(load: Load) -> Told:
    return await Generator(load).run()


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    told = uvloop.run(_generate(load))
    Path(load.out).write_bytes(msgspec.msgpack.encode(told))
    print("done", flush=True)


if __name__ == "__main__":
    main()

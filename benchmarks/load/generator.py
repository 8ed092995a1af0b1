"""Load generator, a process of its own: `python -m benchmarks.load.generator`.

- Constant rate (open loop): the n-th request is due at begin + n / rate, however slow the answers are. So a
  stall delays every request that fell due in it; a client that waits for answers would omit these.
- Users (closed loop): so many connections, each with at most one request; a user thinks after each answer.

It writes ready bytes to keep-alive connections from one loop: 25-30 us of CPU a request, and its CPU time is
part of every result. Known generators do not fit: wrk2, vegeta, k6 and oha are not in the package
index that installs this project, and Locust takes more CPU for a request than the edge.

Reads a `Load` as JSON from stdin. Prints `begin <seconds since the epoch>`, then `done`; then the file `out`
holds a `LoadResult`.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.load.questionnaire import Questionnaire, Wire

TICK_S = 0.001
END_POLL_S = 0.05
CONNECTIONS_MAX = 256  # of a constant rate
RETRY_AFTER_S = 0.5
ANSWERS_TIMEOUT_S = 60.0  # for the last answers, after the last request
KNOWN_POLL_S = 0.1
KNOWN_TIMEOUT_S = 30.0  # until the edge has read the new quiz
PROBLEMS_KEPT_MAX = 10
UUID_CHARS = 36
TRANSIENT = (b"408", b"425", b"429", b"500", b"502", b"503", b"504")
REJECTIONS = (b"429", b"503")
_ID = b'"completion_id":"'
_LENGTH = b"content-length: "


class Constant(msgspec.Struct, frozen=True, tag=True):
    rate_per_s: float
    requests: int
    connections_max: int = (
        CONNECTIONS_MAX  # with fewer than are due at once, requests wait here, not at the edge
    )

    @classmethod
    def of(cls, rate_per_s: float, seconds: float, connections_max: int = CONNECTIONS_MAX) -> Constant:
        return cls(rate_per_s, int(rate_per_s * seconds), connections_max)

    @property
    def seconds(self) -> float:
        return self.requests / self.rate_per_s


class Users(msgspec.Struct, frozen=True, tag=True):
    """Think times are exponential, `think_s` on average. Users arrive evenly within the first `think_s`."""

    users: int
    think_s: float
    seconds: float


class Load(msgspec.Struct, frozen=True):
    host: str
    port: int
    token: str
    quiz_id: str
    matching_percent: int
    first_key: int
    pace: Constant | Users
    out: str
    again: bool = (
        True  # a request that was answered 429 or 503 is sent again; otherwise it has had its answer
    )


class LoadResult(msgspec.Struct, frozen=True):
    """Arrays by number of request. Number 0 was repeated before the load until the edge knew the quiz.

    `due_s`, `answered_s`: doubles, seconds since `begun_at`; not answered with 202: negative. `ids`: 36
    characters each, blank without a 202. `rejected`: answered 429 or 503, and not sent again.
    """

    begun_at: float
    due_s: bytes
    answered_s: bytes
    ids: bytes
    retries: int
    rejected: int
    refused: int
    problems: list[str]
    connections: int


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._parts = b""
        self.number = -1
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not inherit from that class
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
    def __init__(self, load: Load, rng: random.Random) -> None:
        self._load = load
        self._rng = rng
        quiz = Questionnaire(load.quiz_id, load.matching_percent)
        self._wire = Wire(quiz, f"{load.host}:{load.port}", load.token, load.first_key)
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._connections = 0
        pace = load.pace
        self._users = pace if isinstance(pace, Users) else None
        self._connections_max = pace.users if isinstance(pace, Users) else pace.connections_max
        self._opening: set[asyncio.Task[None]] = set()
        self._begun_s = 0.0
        self._due_s, self._answered_s, self._ids = array("d"), array("d"), bytearray()
        self._open = 0
        self._retries = 0
        self._rejected = 0
        self._refused = 0
        self._problems: list[str] = []
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._closing = False

    async def run(self) -> LoadResult:
        await self._until_known()
        gc.collect()
        gc.freeze()
        gc.disable()  # the generator makes no cycles
        self._begun_s = self._loop.time()
        begun_at = time.time()
        print(f"begin {begun_at!r}", flush=True)
        self._begin()
        await self._ended.wait()
        self._closing = True
        return LoadResult(
            begun_at,
            self._due_s.tobytes(),
            self._answered_s.tobytes(),
            bytes(self._ids),
            self._retries,
            self._rejected,
            self._refused,
            self._problems,
            self._connections,
        )

    async def _until_known(self) -> None:
        """An edge that has not read the quiz yet refuses it: one request is repeated until it is accepted."""
        number = self._take(-1.0)
        give_up_s = self._loop.time() + KNOWN_TIMEOUT_S
        while self._answered_s[number] < 0:
            if self._loop.time() > give_up_s:
                raise SystemExit(f"the edge accepts no request: {self._problems[-1:]}")
            self._open += 1
            self._settled.clear()
            self._offer(number)
            await self._settled.wait()
            await asyncio.sleep(KNOWN_POLL_S)
        self._refused = 0
        self._problems.clear()

    def _take(self, due_s: float) -> int:
        self._due_s.append(due_s)
        self._answered_s.append(-1.0)
        self._ids += b" " * UUID_CHARS
        return len(self._due_s) - 1

    def _begin(self) -> None:
        if isinstance(self._load.pace, Constant):
            self._tick(self._load.pace)
            return
        for _ in range(self._load.pace.users):
            self._loop.call_later(self._rng.uniform(0.0, self._load.pace.think_s), self._next_of_user)
        self._loop.call_later(self._load.pace.seconds, self._until_answered)

    def _tick(self, pace: Constant) -> None:
        elapsed_s = self._loop.time() - self._begun_s
        due = min(pace.requests, int(elapsed_s * pace.rate_per_s) + 1)
        while (offered := len(self._due_s) - 1) < due:
            self._open += 1
            self._offer(self._take(offered / pace.rate_per_s))
        if offered < pace.requests:
            self._loop.call_later(max(TICK_S, offered / pace.rate_per_s - elapsed_s), self._tick, pace)
        else:
            self._until_answered()

    def _next_of_user(self) -> None:
        elapsed_s = self._loop.time() - self._begun_s
        if elapsed_s < self._load.pace.seconds:
            self._open += 1
            self._offer(self._take(elapsed_s))

    def _until_answered(self) -> None:
        elapsed_s = self._loop.time() - self._begun_s
        if self._open and elapsed_s < self._load.pace.seconds + ANSWERS_TIMEOUT_S:
            self._loop.call_later(END_POLL_S, self._until_answered)
        else:
            self._ended.set()

    def _offer(self, number: int) -> None:
        may_open = self._connections < self._connections_max
        if self._idle and not (self._users and may_open):
            # Users take turns on all connections; a constant rate keeps as few of them busy as it needs.
            connection = self._idle.popleft() if self._users else self._idle.pop()
            connection.send(number, self._wire.request(number))
            return
        self._waiting.append(number)
        if may_open:
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
            self._close(number)
            return
        if status in REJECTIONS and not self._load.again and number:
            self._rejected += 1
            self._close(number)
            return
        self._problem(f"request {number}: {status.decode()} {answer[body_at : body_at + 200]!r}")
        if status in TRANSIENT:
            self._again(number)
        else:
            self._refused += 1
            self._close(number)

    def _close(self, number: int) -> None:
        self._open -= 1
        self._settled.set()
        if self._users and number:
            self._loop.call_later(self._rng.expovariate(1.0 / self._users.think_s), self._next_of_user)

    def lost(self, connection: Connection) -> None:
        self._connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.number >= 0 and not self._closing:
            self._problem(f"request {connection.number}: the connection was lost")
            self._again(connection.number)

    def _again(self, number: int) -> None:
        """With the same key, as a client does that got no answer."""
        self._retries += 1
        self._loop.call_later(RETRY_AFTER_S, self._offer, number)

    def _problem(self, problem: str) -> None:
        if len(self._problems) < PROBLEMS_KEPT_MAX:
            self._problems.append(problem)


async def _generate(load: Load) -> LoadResult:
    return await Generator(load, random.Random(1)).run()


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    result = uvloop.run(_generate(load))
    Path(load.out).write_bytes(msgspec.msgpack.encode(result))
    print("done", flush=True)


if __name__ == "__main__":
    main()

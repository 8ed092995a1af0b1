"""An overload: as many completions at once as connections are open, until the edge sheds some of them.

It runs in a process of its own and writes HTTP/1.1 itself: the run keeps its CPU, and what becomes too slow
is the edge, not this client. A rejection is an answer: what is rejected is not sent again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvloop

from ops.chaos.load import REQUEST_TIMEOUT_S, LoadPlan, Receipt, request_of
from ops.chaos.machine.database import DidNotHappen
from ops.processes import tether

AT_ONCE = 1000
REQUESTS_MAX = 60_000
WAIT_S_MAX = 90.0  # for the edge to shed: another fault, such as brokers that are gone, may outlast the burst
PAUSE_S = 0.2  # of a client that received no answer
REJECTED_PAUSE_S = 1.0  # of a client that was rejected for another reason than an overload
ANSWERED_S_MAX = WAIT_S_MAX + REQUEST_TIMEOUT_S + 20.0
SHED = b"/problems/overloaded"
REJECTED = frozenset({b"429", b"503"})
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: \d+\r\n", re.IGNORECASE)
PROBLEMS_KEPT_MAX = 5
GRACE_S = 5.0


class Burst(msgspec.Struct, frozen=True):
    """Times in seconds of the machine's monotonic clock, which all processes share.

    - `shed`: rejected as an overload; `rejected`: for another reason, such as Kafka being away.
    - `problems`: the first answers that are neither 202 nor a rejection with Retry-After.
    """

    begun_s: float
    ended_s: float
    accepted_ids: list[str]
    accepted_in_s: dict[int, int]
    shed: int
    rejected: int
    unanswered: int
    problems: list[str]

    @property
    def offered(self) -> int:
        return len(self.accepted_ids) + self.shed + self.rejected + self.unanswered + len(self.problems)


class Order(msgspec.Struct, frozen=True):
    """What the process is told on its command line; the token is in its environment."""

    seed: int
    people: int
    edge_url: str
    name: str  # of this burst, in the keys of its completions
    lasts_s: float
    out: str  # the file for the outcome


class Bursts:
    """One burst at a time; `outcomes` has those that are over."""

    def __init__(self, plan: LoadPlan, home: Path, take: Callable[[Burst], None]) -> None:
        """`take` receives each outcome, for the tally and the audit."""
        self._plan = plan
        self._home = home
        self._take = take
        self._numbers = itertools.count(1)
        self.outcomes: list[Burst] = []

    def one(self, lasts_s: float) -> str:
        """Raises DidNotHappen if nothing was shed."""
        plan = self._plan
        name = f"burst-{next(self._numbers)}"
        out = self._home / f"{name}.json"
        order = Order(plan.seed, plan.people, plan.edge_url, name, lasts_s, str(out))
        burst = self._carried_out(order)
        self.outcomes.append(burst)
        self._take(burst)
        note = (
            f"{burst.offered:,} offered, {len(burst.accepted_ids):,} accepted, {burst.shed:,} shed, "
            f"{burst.rejected:,} rejected otherwise, {burst.unanswered:,} unanswered"
        )
        if not burst.shed:
            raise DidNotHappen(f"nothing was shed: {note}")
        return note

    def _carried_out(self, order: Order) -> Burst:
        argv = [sys.executable, "-m", __name__, msgspec.json.encode(order).decode()]
        env = {**os.environ, "QUIZSTREAM_SERVICE_TOKEN": self._plan.service_token}
        child = tether.spawn(argv, cwd=self._home, env=env, output=subprocess.PIPE)
        try:
            said, _ = child.communicate(timeout=ANSWERED_S_MAX)
        finally:
            tether.stop(child, first=signal.SIGTERM, grace_s=GRACE_S)
        try:
            return msgspec.json.decode(Path(order.out).read_bytes(), type=Burst)
        except FileNotFoundError:
            last = said[-300:].decode(errors="replace")
            raise DidNotHappen(f"exit {child.returncode}: {last}") from None


class _Run:
    def __init__(self, order: Order, service_token: str, clock: Callable[[], float]) -> None:
        self._order = order
        self._clock = clock
        self._numbers = itertools.count()
        self._receipt = msgspec.json.Decoder(Receipt)
        url = urlsplit(LoadPlan.completions_url(order.edge_url))
        self._address = (str(url.hostname), url.port)
        self._head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {service_token}\r\n"
            "Content-Type: application/json\r\n"
        )
        self._begun_s = clock()
        self._accepted_ids: list[str] = []
        self._accepted_in_s: Counter[int] = Counter()
        self._shed = self._rejected = self._unanswered = 0
        self._problems: list[str] = []

    async def run(self) -> Burst:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._client())
        return Burst(
            begun_s=self._begun_s,
            ended_s=self._clock(),
            accepted_ids=self._accepted_ids,
            accepted_in_s=dict(self._accepted_in_s),
            shed=self._shed,
            rejected=self._rejected,
            unanswered=self._unanswered,
            problems=self._problems,
        )

    async def _client(self) -> None:
        while self._lasts():
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                while self._lasts():
                    if (number := next(self._numbers)) >= REQUESTS_MAX:
                        return
                    async with asyncio.timeout(REQUEST_TIMEOUT_S):
                        answer = await self._posted(reader, writer, number)
                    if not self._count(*answer):
                        await asyncio.sleep(REJECTED_PAUSE_S)
            except (asyncio.IncompleteReadError, TimeoutError, OSError):
                self._unanswered += 1
                await asyncio.sleep(PAUSE_S)
            finally:
                writer.close()

    def _lasts(self) -> bool:
        if len(self._problems) >= PROBLEMS_KEPT_MAX:
            return False
        lasted_s = self._clock() - self._begun_s
        return lasted_s < (self._order.lasts_s if self._shed else WAIT_S_MAX)

    async def _posted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> tuple[bytes, bytes]:
        """Return the answer's head and body."""
        body = request_of(self._order.seed, number, self._order.people).body
        # The numbers of this load repeat those of the run, but not their keys.
        key = f"{self._order.seed}-{self._order.name}-{number}"
        head = f"{self._head}Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answered)
        return answered, await reader.readexactly(int(length[1]) if length else 0)

    def _count(self, head: bytes, body: bytes) -> bool:
        """False where the edge cannot take anything now, however little."""
        status = head[9:12]
        if status == b"202":
            self._accepted_ids.append(self._receipt.decode(body).completion_id)
            self._accepted_in_s[int(self._clock())] += 1
        elif status in REJECTED and _RETRY_AFTER.search(head):
            is_shed = SHED in body
            self._shed += is_shed
            self._rejected += not is_shed
            return is_shed
        else:
            self._problems.append(f"HTTP {status.decode()} {body[:200]!r}")
        return True


async def _carry_out(order: Order, service_token: str) -> Burst:
    return await _Run(order, service_token, time.monotonic).run()


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    burst = uvloop.run(_carry_out(order, os.environ["QUIZSTREAM_SERVICE_TOKEN"]))
    Path(order.out).write_bytes(msgspec.json.encode(burst))


if __name__ == "__main__":
    main()

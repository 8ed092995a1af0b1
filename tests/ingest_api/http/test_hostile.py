"""Slow bodies, idle connections and floods of heads: honest clients are served, and memory is bounded.

How long answers took is printed, not judged: machines differ.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from ingest_api.limits.connections import descriptors
from ops.embedded.stack import ServerUrls
from tests.support.edge import Edge, prepare, settings_for
from tests.support.hosts import Host, hosted

BODY = json.dumps({"answers": {"color": "red"}}).encode()
POST = b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HONEST = POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
SLOW = POST + b"Content-Length: 60000\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
FLOODS = (
    GET + b"A: b\r\n" * 100 + b"\r\n",  # many headers
    GET + b"A: " + b"x" * 17_000,  # a long one, without an end
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
)
HONEST_CLIENTS = 8
FLOODERS = 10
FLOOD_PAUSE_S = 0.05
DRIP_PAUSE_S = 0.5
OPENED_AT_ONCE = 100
# Of an idle connection: its protocol, its parser, buffers of the event loop. Of the rest: caches, code,
# buffers that Python keeps. 200 slow bodies have at most 60 kB each.
BYTES_OF_A_CONNECTION = 24_000
BYTES_OF_THE_REST = 100_000_000


@dataclass(frozen=True)
class Size:
    slow: int
    idle: int
    honest: int  # requests, before the attack and during it


@dataclass
class Seen:
    honest: Counter[int] = field(default_factory=Counter)
    slow: Counter[int] = field(default_factory=Counter)
    floods: Counter[int] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    connections_max: int = 0
    rss_bytes: list[int] = field(default_factory=list)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    return int(head.split()[1]), await reader.readexactly(length)


async def honest(edge: Edge, count: int, seen: Seen, phase: str) -> None:
    """Completions one after the other, on a few connections that stay open."""
    loop = asyncio.get_running_loop()
    left = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        for _ in left:
            began_s = loop.time()
            writer.write(HONEST)
            status, body = await answer(reader)
            seen.latencies_ms.setdefault(phase, []).append((loop.time() - began_s) * 1000)
            seen.honest[status] += 1
            if status == 202:
                seen.ids.add(json.loads(body)["completion_id"])
        writer.close()

    await asyncio.gather(*(client() for _ in range(HONEST_CLIENTS)))


async def slow_body(edge: Edge, seen: Seen) -> None:
    """A byte now and then, until the edge ends it; again and again."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        answering = asyncio.create_task(answer(reader))
        try:
            writer.write(SLOW)
            while not answering.done():
                await asyncio.wait([answering], timeout=DRIP_PAUSE_S)
                writer.write(b" ")
            seen.slow[answering.result()[0]] += 1
        finally:
            answering.cancel()
            writer.close()


async def flood(edge: Edge, seen: Seen, first: int) -> None:
    turn = first
    while True:
        turn += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        try:
            writer.write(FLOODS[turn % len(FLOODS)])
            seen.floods[(await answer(reader))[0]] += 1
        finally:
            writer.close()
        await asyncio.sleep(FLOOD_PAUSE_S)


@asynccontextmanager
async def idle(edge: Edge, count: int) -> AsyncIterator[None]:
    """Connections that had one answer and stay open, as long as the edge keeps them."""
    writers: list[asyncio.StreamWriter] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writers.append(writer)
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200

    try:
        for first in range(0, count, OPENED_AT_ONCE):
            await asyncio.gather(*(one() for _ in range(first, min(count, first + OPENED_AT_ONCE))))
        yield
    finally:
        for writer in writers:
            writer.close()


@asynccontextmanager
async def running(works: list[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """All of them, until the block ends. An error of one is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task


async def attack(host: Host, size: Size, seen: Seen) -> None:
    edge, process = host.own(0), psutil.Process(host.edges[0].pid)

    async def watch() -> None:
        while True:
            rss = process.memory_info().rss
            scraped = await asyncio.to_thread(host.scraped, 0)
            seen.rss_bytes.append(rss)
            seen.connections_max = max(
                seen.connections_max, int(scraped.value("quizstream_edge_connections") or 0)
            )
            await asyncio.sleep(0.2)

    await honest(edge, size.honest, seen, "before")
    seen.rss_bytes.append(process.memory_info().rss)
    floods = [flood(edge, seen, number) for number in range(FLOODERS)]
    slow = [slow_body(edge, seen) for _ in range(size.slow)]
    async with running([watch(), *slow]), idle(edge, size.idle), running(floods):
        await honest(edge, size.honest, seen, "during")
        await until(lambda: len(seen.rss_bytes) > 3 and bool(seen.floods))
    await honest(edge, size.honest, seen, "after")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
def host(stack: ServerUrls, namespace: str, tmp_path: Path) -> Iterator[Host]:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    with hosted(settings, prepare(settings), stack.redis_url, tmp_path, 1) as one:
        yield one


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    if descriptors() < count:
        pytest.skip(f"this machine allows fewer than {count} open files")
    yield


def check(host: Host, size: Size) -> None:
    seen = Seen()
    asyncio.run(attack(host, size, seen))
    assert seen.honest == {202: 3 * size.honest}, seen.honest
    assert {one.completion_id for one in host.own(0).completions()} == seen.ids
    assert len(seen.ids) == 3 * size.honest
    assert set(seen.floods) == {431}
    assert set(seen.slow) <= {408}
    grown = max(seen.rss_bytes) - seen.rss_bytes[0]
    assert grown <= BYTES_OF_THE_REST + BYTES_OF_A_CONNECTION * seen.connections_max
    shown = {phase: f"{statistics.quantiles(of, n=100)[98]:.1f}" for phase, of in seen.latencies_ms.items()}
    print(
        f"\n{size}: p99 in ms {shown}; at most {seen.connections_max:,} connections; memory grew by"
        f" {grown / 1e6:.0f} MB; {seen.floods.total():,} heads rejected, slow bodies {dict(seen.slow)}"
    )


def test_honest_clients_are_served_beside_hostile_ones(host: Host) -> None:
    check(host, Size(slow=20, idle=200, honest=200))


@pytest.mark.full
@pytest.mark.timeout(900)
def test_honest_clients_are_served_beside_many_hostile_ones(host: Host) -> None:
    with many_descriptors(12_000):
        check(host, Size(slow=200, idle=10_000, honest=5_000))

"""`quizstream up --edges 4`: client addresses, each limited exactly over all processes, headers included."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.deployed import QUIZ, Deployed, deployed
from tests.support.edge import UNJUDGED
from tests.support.scrapes import scrape

EDGES = 4
LESS_MAX = 0.02  # of what an exact limiter would accept
BUCKETS = 100  # of a window: a request counts for up to a hundredth longer
CLOCK_S = 0.05  # between the client's clock and Valkey's, beyond what each request took


@dataclass(frozen=True)
class Load:
    addresses: int
    limit: int
    window_s: int
    offered_per_window: int
    windows: float  # how long it lasts


@dataclass(frozen=True)
class Answered:
    sent_s: float
    received_s: float
    status: int
    headers: dict[str, str]

    @property
    def remaining(self) -> int:
        return int(self._stated[1])

    @property
    def reset_s(self) -> int:
        return int(self._stated[2])

    @property
    def _stated(self) -> re.Match[str]:
        found = re.fullmatch(r'"address";r=(\d+);t=(\d+)', self.headers["ratelimit"])
        assert found is not None, self.headers
        return found


def visit(one: Deployed, load: Load) -> dict[str, list[Answered]]:
    """Each address sends at a constant rate, one request after the other, each on a connection of its own."""

    async def address(number: int) -> tuple[str, list[Answered]]:
        loop = asyncio.get_running_loop()
        source = f"127.0.{1 + number // 200}.{1 + number % 200}"
        every_s = load.window_s / load.offered_per_window
        count = math.ceil(load.windows * load.offered_per_window)
        began_s = loop.time() + every_s * number / load.addresses
        answers = []
        for turn in range(count):
            await asyncio.sleep(max(0.0, began_s + turn * every_s - loop.time()))
            answers.append(await asyncio.wait_for(submit(one, source), 60))
        return source, answers

    async def everybody() -> dict[str, list[Answered]]:
        return dict(await asyncio.gather(*(address(number) for number in range(load.addresses))))

    return asyncio.run(everybody())


async def submit(one: Deployed, source: str) -> Answered:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", one.ports.edge, local_addr=(source, 0))
    sent_s = loop.time()
    body = b'{"answers": {}}'
    writer.write(
        b"POST /quiz/%b/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (QUIZ.encode(), len(body), body)
    )
    content = await reader.read()
    received_s = loop.time()
    writer.close()
    head, *lines = content.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answered(sent_s, received_s, int(head.split()[1]), headers)


def accepted_by_an_exact_limiter(answers: Sequence[Answered], load: Load) -> int:
    """Of the same requests, at the times when they were answered."""
    times: list[float] = []
    for answer in answers:
        if sum(answer.received_s - time < load.window_s for time in times) < load.limit:
            times.append(answer.received_s)
    return len(times)


def most_in_a_window(accepted: Sequence[Answered], window_s: float) -> int:
    """The most that were certainly accepted within one window: sent and answered in it."""
    return max(
        sum(one.sent_s >= first.sent_s and one.received_s <= first.sent_s + window_s for one in accepted)
        for first in accepted
    )


def check_address(answers: Sequence[Answered], load: Load) -> None:
    accepted = [answer for answer in answers if answer.status == 202]
    assert {answer.status for answer in answers} == {202, 429}
    assert most_in_a_window(accepted, load.window_s - CLOCK_S) <= load.limit
    exact = accepted_by_an_exact_limiter(answers, load)
    assert len(accepted) >= exact - max(1.0, LESS_MAX * exact), (len(accepted), exact)
    for place, answer in enumerate(answers):
        check_headers(answer, [one for one in answers[:place] if one.status == 202], load)


def check_headers(answer: Answered, before: Sequence[Answered], load: Load) -> None:
    assert answer.headers["ratelimit-policy"] == f'"address";q={load.limit};w={load.window_s}'
    certain = sum(one.sent_s > answer.received_s - load.window_s + CLOCK_S for one in before)
    longest_s = load.window_s * (1 + 1 / BUCKETS) + CLOCK_S
    possible = sum(one.received_s >= answer.sent_s - longest_s for one in before)
    if answer.status == 202:
        assert load.limit - 1 - possible <= answer.remaining <= load.limit - 1 - certain
        assert answer.reset_s == load.window_s
        assert "retry-after" not in answer.headers
    else:
        assert answer.remaining == 0
        assert possible >= load.limit
        assert answer.reset_s == min(int(answer.headers["retry-after"]), load.window_s)
        assert 1 <= int(answer.headers["retry-after"]) <= load.window_s + 1


def check(stack: ServerUrls, folder: Path, load: Load) -> None:
    edge = {
        "sources": {"proxies": [], "trusted": []},
        "limits": {"address": {"limit": load.limit, "window_s": load.window_s}},
        "abuse": UNJUDGED,
    }
    with deployed(stack, folder, EDGES, edge) as one:
        by_address = visit(one, load)
        for answers in by_address.values():
            check_address(answers, load)
        counts = Counter(answer.status for answers in by_address.values() for answer in answers)
        accepted = [sum(one.status == 202 for one in answers) for answers in by_address.values()]
        print(f"\n{load}: {dict(counts)}, of an address {min(accepted)} to {max(accepted)}")
        served = list(of_each_edge(one))
        assert all(served), "each process took part"
        assert sum(served) == counts[202]


def of_each_edge(one: Deployed) -> Iterator[int]:
    for number in range(EDGES):
        found = scrape("edge", f"http://127.0.0.1:{one.ports.edge_own(number)}/metrics")
        accepted = found.value("quizstream_edge_requests_total", route="completions", status="202")
        yield int(accepted or 0)


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(600)
def test_ten_addresses_at_four_edges(stack: ServerUrls, tmp_path: Path) -> None:
    check(stack, tmp_path, Load(addresses=10, limit=20, window_s=5, offered_per_window=30, windows=2.4))


@pytest.mark.full
@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(900)
def test_fifty_addresses_at_four_edges(stack: ServerUrls, tmp_path: Path) -> None:
    check(stack, tmp_path, Load(addresses=50, limit=100, window_s=60, offered_per_window=150, windows=2.2))

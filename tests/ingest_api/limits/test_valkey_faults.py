"""Valkey fails while clients send more than their limits: no completion is lost, and it ends by itself.

The window is longer than the test, so that what is accepted of an address is an exact number: the limit while
Valkey decides, and the share of each process while it does not. An address that was refused stays refused.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
import redis

from ops.embedded.stack import ServerUrls
from pipeline.topology.file import RateLimits, Sources, Window
from tests.support.edge import UNJUDGED, Edge, prepare, running, settings_for, wait_ready, wait_until
from tests.support.ports import free_ports
from tests.support.sinks import counted
from tests.support.valkeys import OwnValkey, own_valkey, watched_valkeys

EDGES = 2
LIMIT = 12  # divisible by EDGES
CLIENTS = 4
ADDRESSES_OF_A_PHASE = 3
ENOUGH = 2 * LIMIT  # answers of one edge to one address
WIDE = Window(limit=1_000_000, window_s=3600)
LIMITS = RateLimits(
    address=Window(limit=LIMIT, window_s=3600),
    pages=WIDE,
    quiz_pages=WIDE,
    token=WIDE,
    service=WIDE,
    quiz=WIDE,
    tenant=WIDE,
    progress=WIDE,
    progress_quiz=WIDE,
    gather_ms=5,
    timeout_ms=250,
    processes_assumed=1,
    local_keys_max=1000,
)


@dataclass
class Load:
    """Clients that send without a pause, from all addresses in turn, to both edges."""

    edges: Sequence[Edge]
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    addresses: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # by address and edge
    accepted: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, first: int) -> None:
        try:
            for turn in itertools.count(first):
                if self.stop.is_set():
                    return
                addresses = self.addresses
                if addresses:
                    self._send(addresses[turn // EDGES % len(addresses)], turn % EDGES)
        except Exception as error:
            self.errors.append(error)

    def _send(self, address: str, edge: int) -> None:
        answer = self.edges[edge].submit("anything", {"answers": {}}, x_forwarded_for=address)
        with self.lock:
            self.statuses[answer.status] += 1
            self.answers[address, edge] += 1
            if answer.status == 202:
                self.accepted[address] += 1
                self.ids.add(answer.json["completion_id"])
            else:
                assert answer.problem == "rate-limited", answer
                assert answer.headers["ratelimit"].startswith('"address";r=0;'), answer
                assert int(answer.headers["retry-after"]) > 0

    def new_addresses(self) -> list[str]:
        """Send from some more addresses; return them when each was refused by both edges."""
        new = [f"198.51.100.{next(self._numbers)}" for _ in range(ADDRESSES_OF_A_PHASE)]
        self.addresses = [*self.addresses, *new]
        wanted = list(itertools.product(new, range(EDGES)))
        wait_until(
            lambda: bool(self.errors) or all(self.answers[one] >= ENOUGH for one in wanted),
            f"answers to {new}",
        )
        assert not self.errors
        return new

    def goes_on(self) -> None:
        """Return after more answers of each edge to all addresses."""
        reached = {one: self.answers[one] + 2 for one in itertools.product(self.addresses, range(EDGES))}
        wait_until(
            lambda: bool(self.errors) or all(self.answers[one] >= least for one, least in reached.items()),
            "more answers",
        )
        assert not self.errors


@contextmanager
def loaded(stack: ServerUrls, namespace: str, redis_url: str) -> Iterator[Load]:
    """Two edges that count each other, under load. At the end all that was accepted is in the topic."""
    settings = replace(settings_for(stack.kafka_bootstrap, namespace), redis_url=redis_url)
    topology = prepare(settings)
    sources = Sources(proxies=("127.0.0.0/8",), trusted=())
    abuse = msgspec.structs.replace(topology.edge.abuse, **UNJUDGED)
    edge = msgspec.structs.replace(topology.edge, limits=LIMITS, sources=sources, abuse=abuse)
    topology = msgspec.structs.replace(topology, edge=edge)
    with running(settings, topology) as one, running(settings, topology) as other:
        load = Load((one, other))
        for each in load.edges:
            wait_ready(each)
        decided_by_valkey(load, True)
        wait_until(lambda: all(valkey(one)["edges"] == EDGES for one in load.edges), "the edges to count")
        threads = [threading.Thread(target=load.run, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load.stop.set()
            for thread in threads:
                thread.join(60)
        assert not load.errors
        assert set(load.statuses) == {202, 429}
        assert load.accepted.total() == len(load.ids)
        assert {one.completion_id for one in one.completions()} == load.ids


def valkey(edge: Edge) -> dict[str, object]:
    found = edge.ask("GET", "/health").json["valkey"]
    assert isinstance(found, dict)
    return found


def decided_by_valkey(load: Load, shared: bool) -> None:
    """Wait until both edges decide by Valkey, or both alone. The metric of the alert says the same."""
    wait_until(
        lambda: all(valkey(one)["reached"] is shared for one in load.edges),
        f"Valkey {'to decide' if shared else 'to be given up'}",
    )
    wait_until(lambda: counted("quizstream_edge_limits_local") == (not shared), "the metric")


def accepted(load: Load, addresses: Sequence[str]) -> list[int]:
    return [load.accepted[address] for address in addresses]


def story(load: Load, fail: Callable[[], object], repair: Callable[[], object]) -> None:
    """Before, during and after a fault new addresses get what is stated."""
    phases = [load.new_addresses()]
    fail()
    decided_by_valkey(load, False)
    phases.append(load.new_addresses())
    exact = [LIMIT] * ADDRESSES_OF_A_PHASE
    # Without Valkey each process accepts its share: the limit, divided by the processes that were counted.
    assert [accepted(load, phase) for phase in phases] == [exact, exact]
    repair()
    decided_by_valkey(load, True)
    phases.append(load.new_addresses())
    load.goes_on()
    assert [accepted(load, phase) for phase in (phases[0], phases[2])] == [exact, exact]
    # Valkey has not counted what the processes accepted alone: the limit once more, and not more.
    assert accepted(load, phases[1]) == [2 * LIMIT] * ADDRESSES_OF_A_PHASE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnValkey]:
    memory = ("--maxmemory-policy", "noeviction", "--save", "")
    with own_valkey(tmp_path / "valkey", free_ports().valkey, *memory) as one:
        yield one


def test_valkey_is_killed_and_started_again_without_its_data(
    stack: ServerUrls, namespace: str, server: OwnValkey
) -> None:
    with loaded(stack, namespace, server.url) as load:
        story(load, server.kill, server.start)


def test_valkey_answers_nothing_for_a_while(stack: ServerUrls, namespace: str, server: OwnValkey) -> None:
    frozen = server.frozen()
    with loaded(stack, namespace, server.url) as load:
        story(load, frozen.__enter__, lambda: frozen.__exit__(None, None, None))


def test_valkey_is_full_of_data_of_others_that_it_may_not_forget(
    stack: ServerUrls, namespace: str, server: OwnValkey
) -> None:
    with loaded(stack, namespace, server.url) as load, redis.Redis(port=server.port) as others:
        windows = others.dbsize()

        def fill() -> None:
            for number in range(30):
                others.set(f"foreign {number}", b"x" * 1_000_000)
            others.config_set("maxmemory", "16mb")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                others.set("one more", b"")

        def clear() -> None:
            others.delete(*others.keys("foreign *"))

        story(load, fill, clear)
        assert others.dbsize() > windows, "what it had before is there again"


@pytest.mark.full
def test_valkey_is_failed_over_by_sentinel(stack: ServerUrls, namespace: str, tmp_path: Path) -> None:
    ports = [free_ports().valkey for _ in range(3)]
    with watched_valkeys(tmp_path / "watched", ports) as servers:
        servers.wait_until_ready()
        with loaded(stack, namespace, servers.url) as load:
            before = load.new_addresses()
            servers.master.kill()
            during = load.new_addresses()
            servers.wait_until_promoted()
            decided_by_valkey(load, True)
            after = load.new_addresses()
            load.goes_on()
            exact = [LIMIT] * ADDRESSES_OF_A_PHASE
            assert [accepted(load, phase) for phase in (before, after)] == [exact, exact]
            # The change of masters may fall between two requests of an address: the limit once more.
            assert all(LIMIT <= one <= 2 * LIMIT for one in accepted(load, during))

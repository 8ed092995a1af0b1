"""The law of a limit: never more in any window, never less than 2 % below it, in Valkey as in a process."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api.limits.shared_windows import SharedWindows
from ingest_api.limits.windows import SLOTS, Decision, Keys, LocalWindows, Rule
from ops.embedded.stack import ServerUrls
from pipeline.runtime.valkey import connect

A = Rule("a", 5, 60)
B = Rule("b", 7, 10)
OWN = Rule("a", 3, 60)  # of a tenant: another limit in the window of A
START_MS = 1_800_000_000_000
T = TypeVar("T")

# Steps of time and the keys that ask after each.
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 30_000) | st.just(0),
        st.sampled_from(
            [
                ((A, "x"),),
                ((B, "x"),),
                ((A, "x"), (B, "x")),
                ((A, "y"), (B, "x")),
                ((B, "z"), (A, "x")),
                ((OWN, "x"), (B, "y")),
                ((OWN, "z"),),
            ]
        ),
    ),
    max_size=60,
)


class Clock:
    now_s = START_MS / 1000

    def __call__(self) -> float:
        return self.now_s


class Valkey:
    """The windows in Valkey, on an event loop of their own, with a time that the test sets."""

    def __init__(self, url: str, prefix: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = redis.Redis.from_url(url)
        self.prefix = prefix
        self.windows = shared(url, prefix)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def decide(self, requests: list[Keys], now_ms: int) -> list[Decision]:
        return self.run(self.windows.run_script(requests, now_ms))[1]

    def names(self) -> list[bytes]:
        return list(self.client.scan_iter(f"{{{self.prefix}limits}}:*"))

    def forget(self) -> None:
        if keys := self.names():
            self.client.delete(*keys)

    def close(self) -> None:
        self.forget()
        self.run(self.windows.close())
        self.client.close()
        self.loop.close()


def shared(url: str, prefix: str, rules: tuple[Rule, ...] = (A, B), region: str = "") -> SharedWindows:
    return SharedWindows(
        lambda: connect(url, 60),
        rules,
        prefix,
        gather_s=0.001,
        timeout_s=60,
        process=secrets.token_hex(4),
        region=region,
    )


@pytest.fixture
def valkey(stack: ServerUrls, namespace: str) -> Iterator[Valkey]:
    one = Valkey(stack.redis_url, namespace)
    yield one
    one.close()


def within_every_window(accepted_s: list[float], rule: Rule) -> None:
    for at, first_s in enumerate(accepted_s):
        last = at + rule.limit
        assert last >= len(accepted_s) or accepted_s[last] - first_s > rule.window_s * (1 - 1e-9)


@given(REQUESTS)
def test_never_more_than_the_limit_in_any_window(requests: list[tuple[int, Keys]]) -> None:
    clock = Clock()
    windows = LocalWindows(1000, clock)
    accepted: dict[tuple[Rule, str], list[float]] = {}
    for step_ms, keys in requests:
        clock.now_s += step_ms / 1000
        if windows.decide(keys).refusing is None:
            for key in keys:
                accepted.setdefault(key, []).append(clock.now_s)
    for (rule, _key), times in accepted.items():
        within_every_window(times, rule)


@pytest.mark.parametrize("limit", [10, 100, 997])
def test_who_asks_for_more_gets_the_limit_within_two_percent(limit: int) -> None:
    """Ten windows long, at ten times the limit."""
    clock = Clock()
    rule = Rule("r", limit, 60)
    windows = LocalWindows(1000, clock)
    accepted = 0
    for _ in range(10 * limit * 10):
        accepted += windows.decide(((rule, "x"),)).refusing is None
        clock.now_s += rule.window_s / (limit * 10)
    assert 10 * limit * 0.98 <= accepted <= 10 * limit


def test_after_retry_after_a_request_is_accepted_and_not_before() -> None:
    clock = Clock()
    windows = LocalWindows(1000, clock)
    while (refused := windows.decide(((A, "x"),))).refusing is None:
        clock.now_s += 0.7
    clock.now_s += refused.retry_after_s - 0.01
    assert windows.decide(((A, "x"),)).refusing is A
    clock.now_s += 0.02
    assert windows.decide(((A, "x"),)).refusing is None


def test_a_process_applies_its_share_and_at_least_one() -> None:
    windows = LocalWindows(1000, Clock())
    decisions = [windows.decide(((B, "x"),), processes=3) for _ in range(3)]
    assert [one.refusing for one in decisions] == [None, None, B]
    assert windows.decide(((B, "y"),), processes=100).refusing is None


def test_a_refused_request_counts_nowhere() -> None:
    windows = LocalWindows(1000, Clock())
    for _ in range(5):
        windows.decide(((A, "x"),))
    assert windows.decide(((B, "x"), (A, "x"))).refusing is A
    assert windows.decide(((B, "x"),)).remaining == [6]


def test_there_are_never_more_keys_than_the_limit() -> None:
    windows = LocalWindows(10, Clock())
    for n in range(100):
        windows.decide(((A, str(n)),))
        assert len(windows) <= 10


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REQUESTS, st.data())
def test_valkey_decides_as_a_process_does_however_requests_are_batched(
    valkey: Valkey, requests: list[tuple[int, Keys]], data: st.DataObject
) -> None:
    valkey.forget()
    clock = Clock()
    windows = LocalWindows(1000, clock)
    now_ms = START_MS
    while requests:
        count = data.draw(st.integers(1, len(requests)), label="batch")
        batch, requests = requests[:count], requests[count:]
        now_ms += sum(step_ms for step_ms, _keys in batch)
        clock.now_s = now_ms / 1000
        asked = [keys for _step_ms, keys in batch]
        decided = valkey.decide(asked, now_ms)
        # Requests with the same keys are decided together, at the place of the first.
        in_turn = sorted(range(len(asked)), key=lambda place: asked.index(asked[place]))
        for place in in_turn:
            found, expected = decided[place], windows.decide(asked[place])
            assert found.refusing == expected.refusing
            assert list(found.remaining) == expected.remaining
            assert found.retry_after_s == pytest.approx(expected.retry_after_s, abs=0.002)
    for name in valkey.names():
        assert 0 < valkey.client.pttl(name) <= 62_000
        assert valkey.client.hlen(name) <= SLOTS + 2


def test_a_clock_that_goes_back_gives_nothing_away(valkey: Valkey) -> None:
    for _ in range(5):
        (decision,) = valkey.decide([((A, "x"),)], START_MS + 30_000)
    (decision,) = valkey.decide([((A, "x"),)], START_MS)
    assert decision.refusing is A


def test_keys_expire_by_themselves(valkey: Valkey) -> None:
    short = Rule("short", 3, 1)
    windows = shared(_url(valkey), valkey.prefix, (short,))
    valkey.run(windows.decide(((short, "x"),)))
    assert len(valkey.names()) == 1
    valkey.run(_until(lambda: not valkey.names()))
    valkey.run(windows.close())


def _url(valkey: Valkey) -> str:
    kwargs = valkey.client.connection_pool.connection_kwargs
    return f"redis://{kwargs['host']}:{kwargs['port']}/{kwargs.get('db', 0)}"


async def _until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_a_server_that_lost_the_script_gets_it_again(valkey: Valkey) -> None:
    assert valkey.run(valkey.windows.decide(((A, "x"),))).remaining == [4]
    valkey.client.script_flush()
    assert valkey.run(valkey.windows.decide(((A, "x"),))).remaining == [3]


def test_several_processes_share_one_limit_exactly(valkey: Valkey) -> None:
    """Four connections and fifty addresses, each far above its limit, by the server's clock."""
    rule = Rule("shared", 20, 1)
    keys = [((rule, f"address {n}"),) for n in range(50)]

    async def ask_all() -> list[list[float]]:
        processes = [shared(_url(valkey), valkey.prefix, (rule,)) for _ in keys[:4]]
        accepted: list[list[float]] = [[] for _ in keys]
        refused = 0

        async def ask(process: SharedWindows) -> None:
            nonlocal refused
            while min(map(len, accepted)) < 3 * rule.limit:
                now_ms, decisions = await process.run_script(keys)
                for of_key, decision in zip(accepted, decisions, strict=True):
                    if decision.refusing is None:
                        of_key.append(now_ms / 1000)
                    else:
                        refused += 1

        await asyncio.gather(*map(ask, processes))
        for process in processes:
            await process.close()
        assert refused
        return accepted

    for of_key in valkey.run(ask_all()):
        within_every_window(sorted(of_key), rule)


def test_all_keys_of_a_request_are_exact_over_processes(valkey: Valkey) -> None:
    """Address, tenant (with limits of its own) and region at once, each by its own limit."""
    of_address, own_address = Rule("address", 3, 1), Rule("address", 1, 1)
    of_tenant, own_tenant, of_region = Rule("tenant", 20, 1), Rule("tenant", 8, 1), Rule("region", 40, 1)
    requests: list[Keys] = [
        (
            (own_address if n % 2 else of_address, f"{n}"),
            (of_tenant if n % 3 else own_tenant, f"{n % 3}"),
            (of_region, "br"),
        )
        for n in range(30)
    ]

    async def ask_all() -> dict[tuple[Rule, str], list[float]]:
        processes = [shared(_url(valkey), valkey.prefix, (of_address, of_region)) for _ in range(4)]
        accepted: dict[tuple[Rule, str], list[float]] = {}
        refused_by = set()

        async def ask(process: SharedWindows) -> None:
            while len(accepted.get((of_region, "br"), ())) < 4 * of_region.limit:
                now_ms, decisions = await process.run_script(requests)
                for keys, decision in zip(requests, decisions, strict=True):
                    if decision.refusing is not None:
                        refused_by.add(decision.refusing)
                        continue
                    for key in keys:
                        accepted.setdefault(key, []).append(now_ms / 1000)

        await asyncio.gather(*map(ask, processes))
        for process in processes:
            await process.close()
        assert refused_by >= {own_address, own_tenant, of_region}
        return accepted

    for (rule, _key), of_key in valkey.run(ask_all()).items():
        within_every_window(sorted(of_key), rule)


def test_each_request_of_a_batch_has_the_limit_of_its_own_rule(valkey: Valkey) -> None:
    """A limit that changes while requests are gathered."""
    raised = Rule("a", 9, 60)
    requests: list[Keys] = [*[((A, "x"),)] * 6, *[((raised, "x"),)] * 5, ((OWN, "x"),)]
    decisions = valkey.decide(requests, START_MS)
    assert [one.refusing for one in decisions] == [None] * 5 + [A] + [None] * 4 + [raised, OWN]
    assert [one.remaining for one in decisions[:7]] == [[4], [3], [2], [1], [0], [0], [3]]


def test_processes_count_each_other(valkey: Valkey) -> None:
    url = _url(valkey)
    first, second = shared(url, valkey.prefix, region="br"), shared(url, valkey.prefix, region="us")
    first._process, second._process = "one", "two"
    assert [valkey.run(each.report()) for each in (first, first, second, first)] == [
        (1, 1),
        (1, 1),
        (2, 1),
        (2, 1),
    ]
    for each in (first, second):
        valkey.run(each.close())


@given(st.lists(st.integers(0, 30_000) | st.just(0) | st.none(), max_size=60))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_given_back_leaves_room_for_as_many_and_no_more(
    stack: ServerUrls, steps: list[int | None]
) -> None:
    """None: one request is given back. A process and Valkey decide alike."""
    clock, valkey = Clock(), Valkey(stack.redis_url, f"t{secrets.token_hex(4)}.")
    windows = LocalWindows(1000, clock)
    keys: Keys = ((A, "x"),)
    counted = 0
    try:
        for step_ms in steps:
            now_ms = round(clock.now_s * 1000)
            if step_ms is None:
                windows.give_back(A, "x")
                valkey.run(valkey.windows.run_script([], now_ms, given_back=[keys]))
                counted = max(0, counted - 1)
                continue
            clock.now_s += step_ms / 1000
            local = windows.decide(keys)
            (found,) = valkey.decide([keys], round(clock.now_s * 1000))
            assert (found.refusing is None) == (local.refusing is None)
            counted += local.refusing is None
            if sum(one or 0 for one in steps) < 50_000:  # nothing has left the window
                assert list(local.remaining) == list(found.remaining) == [A.limit - counted]
    finally:
        valkey.close()

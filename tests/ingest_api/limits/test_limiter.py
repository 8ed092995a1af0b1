"""Without Valkey a limit still holds, in parts; with it again, as a whole."""

from __future__ import annotations

import asyncio

import pytest

from ingest_api.limits import limiter as limiters
from ingest_api.limits.limiter import Limiter
from ingest_api.limits.shared_windows import EDGE_EXPIRES_S, Running, SharedWindows, Unavailable
from ingest_api.limits.windows import REGION, Decision, Keys, Rule
from tests.support.sinks import counted

RULE = Rule("r", 8, 60)
OTHER = Rule("other", 8, 60)
X = ((RULE, "x"),)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Shared(SharedWindows):
    """A Valkey that answers as the test says."""

    def __init__(self) -> None:
        self.asked: list[Keys] = []
        self.answers = True
        self.decision = Decision(None, 0.0, [7])
        self.processes = 4
        self.in_region = 0

    async def decide(self, keys: Keys) -> Decision:
        self._require()
        self.asked.append(keys)
        return self.decision

    async def report(self) -> Running:
        self._require()
        return Running(self.processes, self.in_region or self.processes)

    async def close(self) -> None: ...

    def _require(self) -> None:
        if not self.answers:
            raise Unavailable("it is gone")


def test_while_valkey_is_gone_each_process_applies_its_share() -> None:
    async def story() -> None:
        shared = Shared()
        limiter = Limiter(shared, 1000, 1, Clock())
        await limiter.start()
        assert counted("quizstream_edge_limits_local") == 0
        assert counted("quizstream_edge_processes") == 4
        assert (await limiter.decide(X)).remaining == [7]
        shared.answers = False
        decisions = [await limiter.decide(X) for _ in range(3)]
        assert [one.refusing for one in decisions] == [None, None, RULE]
        assert 0 < decisions[2].retry_after_s <= 61
        assert counted("quizstream_edge_limits_local") == 1
        shared.answers = True
        async with asyncio.timeout(60):
            while counted("quizstream_edge_limits_local"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        asked = len(shared.asked)
        assert (await limiter.decide(((RULE, "y"),))).remaining == [7]
        assert len(shared.asked) == asked + 1
        await limiter.close()

    asyncio.run(story())


def test_a_regions_limit_is_shared_by_the_processes_of_that_region() -> None:
    async def story() -> None:
        shared = Shared()
        shared.in_region = 2
        limiter = Limiter(shared, 1000, 1, Clock())
        await limiter.start()
        shared.answers = False
        of_region = ((Rule(REGION, 8, 60), "br"),)
        assert [(await limiter.decide(of_region)).refusing is None for _ in range(5)] == [True] * 4 + [False]
        assert [(await limiter.decide(X)).refusing is None for _ in range(3)] == [True] * 2 + [False]
        await limiter.close()

    asyncio.run(story())


def test_processes_that_have_not_reported_since_a_loss_still_count() -> None:
    """A Valkey that lost its data would otherwise leave the first to report alone, with the whole limit."""

    async def story() -> None:
        clock, shared = Clock(), Shared()
        limiter = Limiter(shared, 1000, 1, clock)
        await limiter.start()
        shared.answers = False
        await limiter.decide(X)
        shared.answers, shared.processes = True, 1
        await limiter._report()
        assert limiter.processes == 4
        shared.answers = False
        assert [(await limiter.decide(X)).refusing for _ in range(2)] == [None, RULE]
        shared.answers = True
        clock.now_s += EDGE_EXPIRES_S
        await limiter._report()
        assert limiter.processes == 1
        await limiter.close()

    asyncio.run(story())


def test_a_process_that_never_saw_valkey_assumes_the_given_number() -> None:
    async def story() -> None:
        shared = Shared()
        shared.answers = False
        limiter = Limiter(shared, 1000, 2, Clock())
        await limiter.start()
        decisions = [await limiter.decide(X) for _ in range(5)]
        assert [one.refusing for one in decisions] == [None] * 4 + [RULE]
        assert shared.asked == []
        await limiter.close()

    asyncio.run(story())


def test_a_refusal_is_remembered_for_its_key_until_it_ends() -> None:
    async def story() -> None:
        clock, shared = Clock(), Shared()
        limiter = Limiter(shared, 1000, 1, clock)
        await limiter.start()
        shared.decision = Decision(RULE, 5.0, [0, 3])
        both = ((OTHER, "z"), *X)
        for _ in range(3):
            refused = await limiter.decide(both)
            assert refused.refusing is RULE
        assert len(shared.asked) == 1
        clock.now_s += 4
        assert (await limiter.decide(X)).retry_after_s == pytest.approx(1)
        shared.decision = Decision(None, 0.0, [7])
        assert (await limiter.decide(((OTHER, "z"),))).refusing is None
        clock.now_s += 1
        assert (await limiter.decide(X)).refusing is None
        assert len(shared.asked) == 3
        await limiter.close()

    asyncio.run(story())


def test_a_refusal_is_not_remembered_by_a_limit_that_was_raised() -> None:
    """A day's quota would otherwise hold for a day after the operator raised it."""

    async def story() -> None:
        shared = Shared()
        limiter = Limiter(shared, 1000, 1, Clock())
        await limiter.start()
        shared.decision = Decision(RULE, 80_000.0, [0])
        await limiter.decide(X)
        assert (await limiter.decide(((Rule("r", 7, 60), "x"),))).refusing is RULE
        shared.decision = Decision(None, 0.0, [7])
        assert (await limiter.decide(((Rule("r", 9, 60), "x"),))).refusing is None
        await limiter.close()

    asyncio.run(story())


def test_remembered_refusals_are_bounded() -> None:
    async def story() -> None:
        shared = Shared()
        limiter = Limiter(shared, 10, 1, Clock())
        await limiter.start()
        shared.decision = Decision(RULE, 5.0, [0])
        for n in range(100):
            await limiter.decide(((RULE, str(n)),))
            assert len(limiter._refused) <= 10
        await limiter.close()

    asyncio.run(story())


def test_valkey_is_asked_again_often() -> None:
    assert limiters.REPORT_EVERY_S <= 1

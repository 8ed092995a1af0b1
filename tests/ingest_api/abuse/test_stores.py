"""One contract for both stores: Valkey adds up as the memory of a process does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api.abuse.memory_store import MemoryStore
from ingest_api.abuse.store import BEGINNING, Exchanged, Report, Store
from ingest_api.abuse.table import Table
from ingest_api.abuse.tally import Counts, Push, Tally, points_of, usual_alike
from ingest_api.abuse.valkey_store import ValkeyStore
from ops.embedded.stack import ServerUrls
from pipeline.abuse.states import Cause, State, Verdict, follow
from pipeline.abuse.verdicts import TooMany, Unavailable, Verdicts, prefix_of
from pipeline.runtime.valkey import connect
from tests.support.abuse_world import ABUSE, BEGAN_MS, Clock

NOBODY = "redis://127.0.0.1:9/0"
SUBJECTS = ("address:a", "address:b", "network:n", "quiz:q")
# Excesses in eighths: their sums are exact.
EXCESS = st.integers(-40, 40).map(lambda n: n / 8)
COUNTS = st.builds(Counts, *[st.integers(0, 50).map(float)] * 2, *[EXCESS] * 6)
PUSHES = st.builds(
    Push,
    st.sampled_from(SUBJECTS),
    COUNTS,
    st.sampled_from([0, 1, ABUSE.pressed_per_s, ABUSE.flooded_per_s]),
    st.lists(st.integers(0, 300).map(lambda n: f"{n:032x}"), max_size=20),
)
BASELINES = st.dictionaries(
    st.sampled_from(["q", "r"]), st.tuples(st.integers(0, 9).map(float), st.integers(0, 60).map(float))
)
STEPS = st.lists(
    st.tuples(st.integers(0, 40_000) | st.just(0), st.lists(PUSHES, max_size=4), BASELINES), max_size=12
)


class Valkey:
    """On an event loop of its own."""

    def __init__(self, url: str) -> None:
        self.namespace = f"t{secrets.token_hex(4)}."
        self.loop = asyncio.new_event_loop()
        self.client_url = url
        self.client = redis.Redis.from_url(url)
        self.verdicts = Verdicts(partial(connect, url, 60.0), self.namespace, ABUSE, 60.0)
        self.store = ValkeyStore(self.verdicts, ABUSE)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def names(self) -> list[bytes]:
        return list(self.client.scan_iter(f"{prefix_of(self.namespace)}*"))

    def close(self) -> None:
        names = self.names()
        if names:
            self.client.delete(*names)
        self.run(self.store.close())
        self.client.close()
        self.loop.close()


@pytest.fixture
def valkey(stack: ServerUrls) -> Iterator[Valkey]:
    one = Valkey(stack.redis_url)
    yield one
    one.close()


def verdict(number: int, until_ms: int, state: State = State.CHALLENGED) -> Verdict:
    return follow(
        None,
        state,
        Cause.SCORE,
        named=f"address:{number:016x}",
        sealed="00",
        now_ms=BEGAN_MS,
        lasts_s=(until_ms - BEGAN_MS) / 1000,
    )


@given(STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_valkey_adds_up_as_a_process_does(stack: ServerUrls, steps: list[Any]) -> None:
    clock, one = Clock(), Valkey(stack.redis_url)
    memory = MemoryStore(ABUSE, clock.now_ms)
    try:
        for passed_ms, pushes, baselines in steps:
            clock.ms += passed_ms
            report = Report(pushes, baselines)
            expected: Exchanged = asyncio.run(memory.exchange(report, BEGINNING))
            found: Exchanged = one.run(one.store.exchange(report, BEGINNING, clock.ms))
            for got, wanted in zip(found.tallies, expected.tallies, strict=True):
                *sums, phones = msgspec.structs.astuple(got)
                *wanted_sums, wanted_phones = msgspec.structs.astuple(wanted)
                assert sums == pytest.approx(wanted_sums)
                # Each counts phones by a sketch of its own.
                assert phones == pytest.approx(wanted_phones, rel=0.06, abs=2)
            assert found.baselines.keys() == expected.baselines.keys()
            for quiz_id, measured in expected.baselines.items():
                assert found.baselines[quiz_id] == pytest.approx(measured)
        assert all(one.client.pttl(name) > 0 for name in one.names()), "every key expires"
    finally:
        one.close()


@given(st.lists(PUSHES, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_processes_add_in_one_moment_has_no_order(pushes: list[Push], rng: Any) -> None:
    def sums(in_order: list[Push]) -> dict[str, Tally]:
        store = MemoryStore(ABUSE, Clock().now_ms)
        asyncio.run(store.exchange(Report(in_order), BEGINNING))
        asked = [Push(subject, Counts()) for subject in SUBJECTS]
        found = asyncio.run(store.exchange(Report(asked), BEGINNING))
        return dict(zip(SUBJECTS, found.tallies, strict=True))

    shuffled = list(pushes)
    rng.shuffle(shuffled)
    one, other = sums(pushes), sums(shuffled)
    for subject in SUBJECTS:
        assert msgspec.structs.astuple(one[subject]) == pytest.approx(msgspec.structs.astuple(other[subject]))


TALLIES = st.builds(Tally, *[st.floats(-1e6, 1e6)] * 10, st.floats(0, 1e7))


@given(TALLIES)
def test_points_are_never_negative_and_volume_alone_never_blocks(tally: Tally) -> None:
    points = points_of(tally, ABUSE)
    assert all(value >= 0 for value in points.values())
    assert points["pressed"] + points["phones"] <= ABUSE.pressure_points_max < ABUSE.block_points


@given(PUSHES, st.integers(0, 600_000), st.integers(0, 600_000))
def test_points_only_fall_while_nothing_comes(push: Push, first_ms: int, second_ms: int) -> None:
    clock = Clock()
    store = MemoryStore(ABUSE, clock.now_ms)

    def points(what: Push) -> float:
        (tally,) = asyncio.run(store.exchange(Report([what]), BEGINNING)).tallies
        return sum(points_of(tally, ABUSE).values())

    nothing = Push(push.subject, Counts())
    at_first = points(push)
    clock.ms += first_ms
    later = points(nothing)
    clock.ms += second_ms
    assert at_first + 1e-9 >= later >= points(nothing) - 1e-9


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.integers(0, 60))
def test_what_is_usual_is_a_share(same: float, more: float, questions: int) -> None:
    assert 0 <= usual_alike(same, same + more, questions, ABUSE) <= 1


def test_a_quiz_with_few_questions_may_have_answers_alike_and_another_learns_it() -> None:
    assert usual_alike(0, 0, 1, ABUSE) == 1
    assert usual_alike(0, 0, 16, ABUSE) < 0.001
    assert usual_alike(60_000, 100_000, 16, ABUSE) == 1


@pytest.mark.parametrize("kind", ["valkey", "memory"])
def test_changes_are_numbered_and_only_the_first_writer_wins(kind: str, valkey: Valkey) -> None:
    clock = Clock()
    clock.ms = BEGAN_MS
    store: Store = valkey.store if kind == "valkey" else MemoryStore(ABUSE, clock.now_ms)
    one, other = verdict(1, BEGAN_MS + 60_000), verdict(2, BEGAN_MS + 60_000)

    async def story() -> None:
        assert await store.put(one, None, BEGAN_MS)
        assert not await store.put(one, None, BEGAN_MS), "another process has written it before"
        found = await store.exchange(Report(), BEGINNING)
        assert found.changes == {one.subject: one}
        assert await store.put(other, None, BEGAN_MS)
        assert (await store.exchange(Report(), found.position)).changes == {other.subject: other}
        longer = verdict(1, BEGAN_MS + 90_000)
        assert await store.put(longer, one, BEGAN_MS)
        last = await store.exchange(Report(), found.position)
        assert last.changes == {other.subject: other, longer.subject: longer}
        assert (await store.exchange(Report(), last.position)).changes == {}
        ahead = replace(last.position, number=last.position.number + 5)
        assert (await store.exchange(Report(), ahead)).lost
        gone, again = verdict(3, BEGAN_MS + 60_000), verdict(3, BEGAN_MS + 90_000)
        assert await store.put(again, gone, BEGAN_MS), "nobody has another one"
        assert not await store.put(longer, gone, BEGAN_MS)

    valkey.run(story())


def test_every_reader_notices_that_valkey_was_emptied(valkey: Valkey) -> None:
    """Also after another process has stored its verdicts again, and the numbers have passed those before."""

    async def story() -> None:
        assert await valkey.store.put(verdict(1, BEGAN_MS + 60_000), None, BEGAN_MS)
        known = (await valkey.store.exchange(Report(), BEGINNING)).position
        valkey.client.delete(*valkey.names())
        first = await valkey.store.exchange(Report(), known)
        assert first.lost
        again = verdict(2, BEGAN_MS + 60_000)
        assert await valkey.store.put(again, None, BEGAN_MS)
        assert not (await valkey.store.exchange(Report(), first.position)).lost
        second = await valkey.store.exchange(Report(), known)
        assert second.position.number > known.number
        assert second.lost
        assert second.changes == {again.subject: again}

    valkey.run(story())


def test_records_are_bounded_and_end(valkey: Valkey) -> None:
    few = msgspec.structs.replace(ABUSE, verdicts_max=3, kept_s=1)
    verdicts = Verdicts(partial(connect, valkey.client_url, 60.0), valkey.namespace, few, 60.0)

    async def story() -> list[str]:
        for number in range(5):
            assert await verdicts.put(verdict(number, BEGAN_MS + 3_600_000), None, BEGAN_MS)
        found = [one.subject for one in await verdicts.all()]
        await verdicts.close()
        return found

    assert valkey.run(story()) == [f"address:{number:016x}" for number in (4, 3, 2)]
    lives_s = [valkey.client.pttl(name) / 1000 for name in valkey.names()]
    assert len(lives_s) == 6
    assert all(0 < life_s <= 3_601 for life_s in lives_s)


@pytest.mark.parametrize("kind", ["valkey", "memory", "table"])
def test_no_decision_of_an_operator_is_given_up_for_automatic_ones(kind: str, valkey: Valkey) -> None:
    few = msgspec.structs.replace(ABUSE, verdicts_max=3)
    until_ms = BEGAN_MS + 3_600_000
    decided = msgspec.structs.replace(verdict(0, until_ms), cause=Cause.OPERATOR)
    automatic = [verdict(number, until_ms) for number in range(1, 20)]
    clock = Clock()

    async def kept() -> list[Verdict]:
        if kind == "table":
            table = Table(few, clock.now_ms)
            for one in (decided, *automatic):
                table.apply(one.subject, one)
            return table.active()
        if kind == "memory":
            memory = MemoryStore(few, clock.now_ms)
            for one in (decided, *automatic):
                assert await memory.put(one, None, BEGAN_MS)
            found = await memory.exchange(Report(), BEGINNING)
            return [one for one in found.changes.values() if one is not None]
        verdicts = Verdicts(partial(connect, valkey.client_url, 60.0), valkey.namespace, few, 60.0)
        for one in (decided, *automatic):
            assert await verdicts.put(one, None, BEGAN_MS)
        stored = await verdicts.all()
        await verdicts.close()
        return stored

    left = valkey.run(kept())
    assert decided in left
    assert automatic[-1] in left
    assert len(left) <= few.verdicts_max + 1


def test_operators_have_a_limit_of_their_own(valkey: Valkey) -> None:
    few = msgspec.structs.replace(ABUSE, verdicts_max=2)
    until_ms = BEGAN_MS + 3_600_000
    decided = [msgspec.structs.replace(verdict(n, until_ms), cause=Cause.OPERATOR) for n in range(3)]

    async def story() -> None:
        verdicts = Verdicts(partial(connect, valkey.client_url, 60.0), valkey.namespace, few, 60.0)
        for one in (*decided[:2], decided[0]):
            assert await verdicts.put(one, None, BEGAN_MS, force=True)
        with pytest.raises(TooMany):
            await verdicts.put(decided[2], None, BEGAN_MS, force=True)
        valkey.client.delete(f"{prefix_of(valkey.namespace)}v:{decided[1].subject}")
        assert await verdicts.put(decided[2], None, BEGAN_MS, force=True), "what has ended leaves its place"
        await verdicts.close()

    valkey.run(story())


def test_what_a_process_keeps_while_it_is_alone_is_bounded() -> None:
    few = msgspec.structs.replace(ABUSE, alone_subjects_max=3, quizzes_max=2)
    store = MemoryStore(few, Clock().now_ms)
    for number in range(10):
        report = Report([Push(f"address:{number}", Counts())], {f"quiz {number}": (1.0, 2.0)})
        asyncio.run(store.exchange(report, BEGINNING))
    assert store.sizes() == {"sums": 3, "quizzes": 2, "verdicts": 0}


def test_a_valkey_that_is_not_there_is_said() -> None:
    async def story() -> None:
        store = ValkeyStore(Verdicts(partial(connect, NOBODY, 1.0), "t.", ABUSE, 1.0), ABUSE)
        with pytest.raises(Unavailable, match="Connection"):
            await store.exchange(Report(), BEGINNING)
        await store.close()

    asyncio.run(story())

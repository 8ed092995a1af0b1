"""Several processes in virtual time: attackers are blocked within 10 s; people behind one address are not."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from ingest_api.abuse.examiner import Examiner
from ingest_api.abuse.observations import Observation, Outcome
from ingest_api.limits.sources import Source
from ingest_api.reference.quizzes import Quizzes
from ops.demo.phones import demo_phone
from pipeline.abuse.states import Cause, State, Verdict, follow
from schemas.records import Answer, Question, Quiz
from tests.support.abuse_crowds import Person, Script, a_mimic, a_script, a_walk, play, respondents
from tests.support.abuse_world import ABUSE, QUIZ, Clock, Failing, World
from tests.support.sinks import counted

WITHIN_MS = 10_000
SHARED = "198.51.100.7"
ATTACKERS = tuple(f"192.0.{n}.9" for n in range(20))
TEN_TIMES_PER_S = 10 * 100 / 60


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Person]]:
    """Respondents of each data set behind one address, all of them within five minutes."""
    folder, rng = tmp_path_factory.mktemp("datasets"), random.Random(7)
    return {
        quiz_id: [
            Person(SHARED, quiz_id, answers, phone, rng.randrange(300_000))
            for answers, phone in respondents(folder, quiz_id)
        ]
        for quiz_id in ("iqitems", "bfi")
    }


def real_quiz(quiz_id: str, person: Person) -> Quiz:
    return Quiz(quiz_id, "acme", 1, quiz_id, [Question(name) for name in person.answers], created_at=0)


def test_twenty_addresses_at_ten_times_the_limit_are_blocked(people: dict[str, list[Person]]) -> None:
    world = World()
    world.publish(real_quiz("iqitems", people["iqitems"][0]))
    honest = [
        Person(f"198.18.{n % 250}.{n // 250 + 1}", "iqitems", one.answers, one.phone, one.at_ms // 20)
        for n, one in enumerate(people["iqitems"][:200])
    ]
    scripts = [
        Script(address, "iqitems", TEN_TIMES_PER_S, a_script(10_000 * n))
        for n, address in enumerate(ATTACKERS)
    ]
    accepted = asyncio.run(play(world, honest, scripts, WITHIN_MS))
    blocked_ms = {address: world.first_ms(address, State.BLOCKED) for address in ATTACKERS}
    print(f"blocked after {sorted(blocked_ms.values(), key=str)} ms")
    assert all(at is not None and at <= WITHIN_MS for at in blocked_ms.values()), blocked_ms
    assert accepted == len(honest)
    assert {named for named, states in world.seen.items() if State.BLOCKED in states} == {
        world.subject(address) for address in ATTACKERS
    }


def test_a_walk_through_a_range_of_phones_is_blocked_whatever_it_answers() -> None:
    world = World()
    scripts = [
        Script(address, QUIZ.quiz_id, TEN_TIMES_PER_S, a_walk(100_000 * n))
        for n, address in enumerate(ATTACKERS)
    ]
    asyncio.run(play(world, scripts=scripts, until_ms=WITHIN_MS))
    for address in ATTACKERS:
        at_ms = world.first_ms(address, State.BLOCKED)
        assert at_ms is not None
        assert at_ms <= WITHIN_MS


def test_who_copies_people_is_challenged_for_its_rate_and_blocked_because_it_does_not_answer() -> None:
    world = World()
    scripts = [
        Script(address, QUIZ.quiz_id, TEN_TIMES_PER_S, a_mimic(n)) for n, address in enumerate(ATTACKERS)
    ]
    asyncio.run(play(world, scripts=scripts, until_ms=3 * WITHIN_MS))
    times = [world.first_ms(address, State.BLOCKED) for address in ATTACKERS]
    print(f"blocked after {times} ms")
    assert all(at is not None and at <= 2.5 * WITHIN_MS for at in times), times


@pytest.mark.parametrize("quiz_id", ["iqitems", "bfi"])
def test_a_data_set_behind_one_address_whose_limit_allows_it_meets_nothing(
    people: dict[str, list[Person]], quiz_id: str
) -> None:
    world = World(address_limit=100_000)
    crowd = people[quiz_id]
    world.publish(real_quiz(quiz_id, crowd[0]))
    assert asyncio.run(play(world, crowd)) == len(crowd)
    assert world.ever() == set()


def test_all_at_once_too(people: dict[str, list[Person]]) -> None:
    world = World(address_limit=100_000)
    crowd = [
        Person(one.address, one.quiz_id, one.answers, one.phone, one.at_ms // 100)
        for of_quiz in people.values()
        for one in of_quiz
    ]
    for quiz_id, of_quiz in people.items():
        world.publish(real_quiz(quiz_id, of_quiz[0]))
    assert asyncio.run(play(world, crowd)) == len(crowd)
    assert world.ever() == set()


@pytest.mark.parametrize("quiz_id", ["iqitems", "bfi"])
def test_far_beyond_its_limit_a_crowd_answers_challenges_and_is_not_blocked(
    people: dict[str, list[Person]], quiz_id: str
) -> None:
    world = World(address_limit=100)
    crowd = people[quiz_id]
    world.publish(real_quiz(quiz_id, crowd[0]))
    assert asyncio.run(play(world, crowd)) == len(crowd)
    print(world.ever(), world.statuses[SHARED])
    assert State.BLOCKED not in {state for _kind, state in world.ever()}


def test_a_class_whose_answers_are_alike_as_those_of_others_meets_nothing() -> None:
    """Five questions, to which seven of ten people give the same answers; the quiz has run for some hours."""
    quiz = Quiz("feedback", "acme", 1, "Feedback", [Question(f"q{n}") for n in range(5)], created_at=0)
    world = World(processes=1, address_limit=100_000)
    world.publish(quiz)
    rng = random.Random(3)

    def person(number: int, address: str, at_ms: int) -> Person:
        answers: dict[str, Answer] = {
            question.question_id: "yes" if rng.random() < 0.7 ** (1 / 5) else "no"
            for question in quiz.questions
        }
        return Person(address, quiz.quiz_id, answers, demo_phone("class", number), at_ms)

    hours_ms = 3 * 3_600_000
    others = [person(n, f"10.{n % 250}.{n // 250}.1", rng.randrange(hours_ms)) for n in range(1_500)]
    school = [person(5_000 + n, SHARED, hours_ms + rng.randrange(60_000)) for n in range(300)]
    assert asyncio.run(play(world, [*others, *school])) == len(others) + len(school)
    assert world.ever() == set()


def test_a_release_a_restart_and_an_end() -> None:
    world = World()
    address = ATTACKERS[0]
    script = Script(address, QUIZ.quiz_id, TEN_TIMES_PER_S, a_script())

    async def story() -> None:
        await play(world, scripts=[script], until_ms=WITHIN_MS)
        assert {world.state(address, edge) for edge in range(4)} == {State.BLOCKED}
        world.restart(2)
        assert world.state(address, 2) is State.CLEAR
        await world.until(world.clock.ms + ABUSE.interval_ms)
        assert world.state(address, 2) is State.BLOCKED
        await world.until(world.clock.ms + ABUSE.block_s * 1000)
        assert {world.state(address, edge) for edge in range(4)} == {State.CLEAR}
        assert (await world.send(address, {"q1": "a"}, None)).status == 202

    asyncio.run(story())


def test_people_who_share_an_address_with_a_script_that_sends_garbage_are_let_in(
    people: dict[str, list[Person]],
) -> None:
    """The script reads no answer. Each person comes while the address is challenged or blocked for it."""
    world = World()
    crowd = people["iqitems"]
    world.publish(real_quiz("iqitems", crowd[0]))
    garbage = Script(SHARED, "iqitems", TEN_TIMES_PER_S, lambda _number: (None, None))
    for_s = 2 * ABUSE.block_s
    honest = [
        Person(SHARED, "iqitems", one.answers, one.phone, n * 8_000)
        for n, one in enumerate(crowd[: for_s // 8])
    ]
    asyncio.run(play(world, [], [garbage], 2 * WITHIN_MS))
    assert world.state(SHARED) is State.BLOCKED
    waits_ms: list[int] = []
    accepted = asyncio.run(play(world, honest, [garbage], for_s * 1000, patient=False, waits_ms=waits_ms))
    print(f"accepted {accepted} of {len(honest)}, at most {max(waits_ms)} ms late")
    assert accepted == len(honest)
    assert max(waits_ms) <= 60_000, "the window of the limit that the script used up"


def test_a_script_that_answers_challenges_is_blocked_for_what_it_sends() -> None:
    """It sends with each ticket, at the rate of its limit; then no ticket lets it pass."""
    world = World()
    address = ATTACKERS[0]
    script = Script(address, QUIZ.quiz_id, TEN_TIMES_PER_S, a_script(), solves=True)
    asyncio.run(play(world, scripts=[script], until_ms=12 * WITHIN_MS))
    assert world.statuses[address]["202"] < 300
    before = world.statuses[address]["202"]
    asyncio.run(play(world, scripts=[script], until_ms=24 * WITHIN_MS))
    assert world.state(address) is State.BLOCKED
    assert world.statuses[address]["202"] == before


def bots(addresses: Iterable[str], from_ms: int, apart_ms: int = 20) -> list[Script]:
    """Each sends once, so that none is examined by itself."""
    content = a_script()
    return [
        Script(address, "iqitems", 0.001, content, from_ms + n * apart_ms)
        for n, address in enumerate(addresses)
    ]


def test_whoever_has_a_quiz_challenged_gets_nobody_else_blocked(people: dict[str, list[Person]]) -> None:
    """An address whose clients answer no challenge sends four completions a second to that quiz."""
    world = World(address_limit=1_000, limits=replace(ABUSE, prior_pairs=100))
    world.publish(real_quiz("iqitems", people["iqitems"][0]))
    crowd = people["iqitems"]
    honest = [
        Person(f"10.{n % 250}.{n // 250}.1", "iqitems", one.answers, one.phone, n * 400)
        for n, one in enumerate(crowd[:600])
    ]
    without_tickets = Script(
        SHARED, "iqitems", 4.0, lambda n: (crowd[600 + n].answers, crowd[600 + n].phone), 180_000
    )
    scripts = bots([f"11.{n % 250}.{n // 250}.1" for n in range(10_000)], 180_000)
    asyncio.run(play(world, honest, [*scripts, without_tickets], 400_000))
    assert world.statuses[SHARED]["challenged"] > 200
    assert State.BLOCKED not in {state for _kind, state in world.ever()}


def test_one_network_alone_has_no_quiz_challenged(people: dict[str, list[Person]]) -> None:
    world = World(limits=replace(ABUSE, prior_pairs=100))
    world.publish(real_quiz("iqitems", people["iqitems"][0]))
    honest = [
        Person(f"10.{n % 250}.{n // 250}.1", "iqitems", one.answers, one.phone, n * 400)
        for n, one in enumerate(people["iqitems"][:600])
    ]
    scripts = [
        dataclasses.replace(one, content=lambda _number: (None, None))
        for one in bots([f"2001:db8:1:{n:x}::1" for n in range(12_000)], 180_000, 5)
    ]
    assert asyncio.run(play(world, honest, scripts, 240_000)) == len(honest)
    assert {kind for kind, _state in world.ever()} == {"network"}


def test_a_script_on_many_addresses_has_its_quiz_challenged_and_people_answer(
    people: dict[str, list[Person]],
) -> None:
    """Each address sends once: none is examined, and none is blocked."""
    world = World(limits=replace(ABUSE, prior_pairs=100))
    quiz = real_quiz("iqitems", people["iqitems"][0])
    world.publish(quiz)
    minutes_ms = 180_000
    honest = [
        Person(f"10.{n % 250}.{n // 250}.1", "iqitems", one.answers, one.phone, n * 400)
        for n, one in enumerate(people["iqitems"][:600])
    ]
    scripts = bots([f"11.{n % 250}.{n // 250}.1" for n in range(2_000)], minutes_ms)
    accepted = asyncio.run(play(world, honest, scripts, minutes_ms + 60_000))
    assert accepted == len(honest)
    assert ("quiz", State.CHALLENGED) in world.ever()
    assert State.BLOCKED not in {state for _kind, state in world.ever()}
    assert sum(of_bot["202"] for one, of_bot in world.statuses.items() if one.startswith("11.")) < 1_500


def decided(named: str, state: State, now_ms: int) -> Verdict:
    return follow(None, state, Cause.SCORE, named=named, sealed="", now_ms=now_ms, lasts_s=300)


def test_what_a_process_decided_alone_is_merged_into_what_valkey_has() -> None:
    """One process knew that an address was delayed when Valkey went away, and challenged it alone."""
    clock = Clock()
    store = Failing(ABUSE, clock.now_ms)
    world = World(processes=2, clock=clock, shared=store)
    address = ATTACKERS[0]
    named = world.subject(address)

    async def story() -> None:
        delayed = decided(named, State.DELAYED, clock.ms)
        assert await store.put(delayed, None, clock.ms)
        await world.until(clock.ms + ABUSE.interval_ms)
        assert {world.state(address, edge) for edge in range(2)} == {State.DELAYED}
        store.is_away = True
        only = world.edges[0].table
        alone = decided(named, State.CHALLENGED, clock.ms)
        await world.until(clock.ms + ABUSE.interval_ms)
        only.apply(named, alone)
        store.is_away = False
        await world.until(clock.ms + 2 * ABUSE.interval_ms)
        assert await store.find(named) == alone
        assert {world.state(address, edge) for edge in range(2)} == {State.CHALLENGED}

    asyncio.run(story())


def test_after_a_loss_of_valkeys_memory_every_process_stores_its_verdicts_again() -> None:
    clock = Clock()
    store = Failing(ABUSE, clock.now_ms)
    world = World(processes=2, clock=clock, shared=store)
    names = [world.subject(address) for address in ATTACKERS[:2]]

    async def story() -> None:
        await world.until(clock.ms + ABUSE.interval_ms)
        for edge, named in zip(world.edges, names, strict=True):  # each has one that the other does not have
            edge.table.apply(named, decided(named, State.CHALLENGED, clock.ms))
        store.forget()
        await world.until(clock.ms + 3 * ABUSE.interval_ms)
        for named in names:
            assert await store.find(named) is not None
        for number in range(2):
            assert {world.state(address, number) for address in ATTACKERS[:2]} == {State.CHALLENGED}

    asyncio.run(story())


def test_only_the_most_active_are_examined_and_the_rest_costs_nothing() -> None:
    clock = Clock()
    few = replace(ABUSE, subjects_max=5)
    examiner = Examiner(World().sources.keys, Quizzes(), few, clock.now_s, clock.now_ms)
    seen = [
        Observation(Source(f"{n:016x}", part=bytes([10, n, 0, 1])), "q", Outcome.INVALID)
        for n in range(20)
        for _ in range(10 + n)
    ]
    before = counted("quizstream_abuse_not_examined_total")
    report = examiner.report(seen)
    assert {push.subject for push in report.pushes} == {f"address:{n:016x}" for n in range(15, 20)}
    assert counted("quizstream_abuse_not_examined_total") == before + 15
    assert [examiner.sealed(f"address:{n:016x}") for n in range(15)] == [""] * 15, "they are not looked at"

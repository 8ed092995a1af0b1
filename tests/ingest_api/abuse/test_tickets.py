"""A ticket is good for one quiz, one request and a short time, and few leave their network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
from msgspec.structs import replace

from ingest_api.abuse.tickets import EARLY_MS, TICKET_CHARS, Tickets
from ingest_api.abuse.used_tickets import MOVED_WINDOW_MS, UsedTickets
from ops.embedded.stack import ServerUrls
from pipeline.abuse.verdicts import Verdicts
from pipeline.runtime.valkey import connect
from tests.support.abuse_world import ABUSE, KEY, Clock, nowhere
from tests.support.sinks import counted

WAIT_MS, VALID_MS = ABUSE.ticket_wait_s * 1000, ABUSE.ticket_s * 1000
HOME, AWAY = "network of issue", "another network"


def query(ticket: str) -> bytes:
    return f"a=b&ticket={ticket}".encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of_a_process(clock: Clock, *, secret: bytes = KEY, used: UsedTickets | None = None) -> Tickets:
    """Without Valkey."""
    numbers = count()
    return Tickets(
        secret,
        ABUSE,
        clock.now_ms,
        used or UsedTickets(ABUSE, clock.now_ms, nowhere),
        lambda size: next(numbers).to_bytes(size),
    )


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return of_a_process(clock)


def use(tickets: Tickets, given: bytes, network: str = HOME, quiz_id: str = "quiz") -> int | None:
    return asyncio.run(tickets.use(given, network, quiz_id))


def test_it_is_valid_after_its_wait_and_once(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue(HOME, "quiz")
    assert len(issued.ticket) == TICKET_CHARS
    assert use(tickets, query(issued.ticket)) is None, "too early"
    clock.ms += WAIT_MS - EARLY_MS
    assert use(tickets, query(issued.ticket)) == issued.at_ms
    assert use(tickets, query(issued.ticket)) is None, "used"


def test_another_process_with_the_same_secret_takes_it(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue(HOME, "quiz")
    clock.ms += WAIT_MS
    assert use(of_a_process(clock, secret=b"another"), query(issued.ticket)) is None
    assert use(of_a_process(clock), query(issued.ticket)) == issued.at_ms


def test_it_ends(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue(HOME, "quiz")
    clock.ms += WAIT_MS + VALID_MS + 1
    assert use(tickets, query(issued.ticket)) is None


def test_it_belongs_to_a_quiz(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue(HOME, "quiz")
    clock.ms += WAIT_MS
    assert use(tickets, query(issued.ticket), quiz_id="other") is None


@pytest.fixture(params=["valkey", "process"])
def shared(
    request: pytest.FixtureRequest, stack: ServerUrls, namespace: str, clock: Clock
) -> Iterator[Tickets]:
    if request.param == "process":
        yield of_a_process(clock)
        return

    async def run(script: str, *arguments: object) -> object:
        verdicts = Verdicts(partial(connect, stack.redis_url, 60.0), namespace, ABUSE, 60.0)
        try:
            return await verdicts.run(script, *arguments)
        finally:
            await verdicts.close()

    yield of_a_process(clock, used=UsedTickets(ABUSE, clock.now_ms, run))


def test_a_phone_changes_its_network_but_no_solver_feeds_a_botnet(shared: Tickets, clock: Clock) -> None:
    most = ABUSE.moved_tickets_per_min
    issued = [shared.issue(HOME, "quiz") for _ in range(most + 20)]
    clock.ms += WAIT_MS
    passed = [use(shared, query(one.ticket), AWAY) is not None for one in issued]
    assert passed == [True] * most + [False] * 20
    assert use(shared, query(issued[-1].ticket)) is not None, (
        "it was not used up, and its own network has no limit"
    )
    other = shared.issue(AWAY, "quiz")
    clock.ms += WAIT_MS
    assert use(shared, query(other.ticket), HOME) is not None, "each network has its own number"


def test_without_valkey_a_process_counts_alone_for_a_minute(tickets: Tickets, clock: Clock) -> None:
    before = counted("quizstream_abuse_tickets_total", by="process")
    issued = [tickets.issue(HOME, "quiz") for _ in range(ABUSE.moved_tickets_per_min + 1)]
    clock.ms += WAIT_MS
    passed = [use(tickets, query(one.ticket), AWAY) is not None for one in issued]
    assert passed == [True] * ABUSE.moved_tickets_per_min + [False]
    assert counted("quizstream_abuse_tickets_total", by="process") == before + len(issued)
    clock.ms += MOVED_WINDOW_MS
    later = tickets.issue(HOME, "quiz")
    clock.ms += WAIT_MS
    assert use(tickets, query(later.ticket), AWAY) is not None


def test_used_tickets_are_bounded(clock: Clock) -> None:
    few = replace(ABUSE, tickets_kept_max=3)
    used = UsedTickets(few, clock.now_ms, nowhere)
    for number in range(10):
        assert asyncio.run(used.use(bytes([number]), ""))
    assert counted("quizstream_abuse_tickets_kept") == 3
    assert not asyncio.run(used.use(bytes([9]), ""))


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"ticket=",
        b"ticket=" + b"A" * TICKET_CHARS,
        b"ticket=" + b"!" * TICKET_CHARS,
        b"ticket=%ff%00",
        b"ticket=" + "é".encode() * 22,
        b"&" * 1_000,
        b"x" * 10_000,
    ],
)
def test_anything_else_is_none(tickets: Tickets, given: bytes) -> None:
    assert use(tickets, given) is None

"""A ticket is good for one address, one quiz, one request and a short time."""

from __future__ import annotations

import pytest

from ingest_api.abuse.tickets import EARLY_MS, TICKET_CHARS, Tickets
from tests.support.abuse_world import ABUSE, KEY, Clock

WAIT_MS, VALID_MS = ABUSE.ticket_wait_s * 1000, ABUSE.ticket_s * 1000


def query(ticket: str) -> bytes:
    return f"a=b&ticket={ticket}".encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(KEY, ABUSE, clock.now_ms)


def test_it_is_valid_after_its_wait_and_once(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue("a", "quiz")
    assert len(issued.ticket) == TICKET_CHARS
    assert tickets.use(query(issued.ticket), "a", "quiz") is None, "too early"
    clock.ms += WAIT_MS - EARLY_MS
    assert tickets.use(query(issued.ticket), "a", "quiz") == issued.at_ms
    assert tickets.use(query(issued.ticket), "a", "quiz") is None, "used"


def test_another_process_with_the_same_secret_takes_it(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue("a", "quiz")
    clock.ms += WAIT_MS
    assert Tickets(KEY, ABUSE, clock.now_ms).use(query(issued.ticket), "a", "quiz") == issued.at_ms
    assert Tickets(b"another", ABUSE, clock.now_ms).use(query(issued.ticket), "a", "quiz") is None


def test_it_ends(tickets: Tickets, clock: Clock) -> None:
    issued = tickets.issue("a", "quiz")
    clock.ms += WAIT_MS + VALID_MS + 1
    assert tickets.use(query(issued.ticket), "a", "quiz") is None


@pytest.mark.parametrize(("address", "quiz_id"), [("b", "quiz"), ("a", "other")])
def test_it_belongs_to_an_address_and_a_quiz(
    tickets: Tickets, clock: Clock, address: str, quiz_id: str
) -> None:
    issued = tickets.issue("a", "quiz")
    clock.ms += WAIT_MS
    assert tickets.use(query(issued.ticket), address, quiz_id) is None


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"ticket=",
        b"ticket=" + b"A" * TICKET_CHARS,
        b"ticket=" + b"!" * TICKET_CHARS,
        b"ticket=%ff%00",
        b"ticket=" + "é".encode() * 16,
        b"&" * 1_000,
        b"x" * 10_000,
    ],
)
def test_anything_else_is_none(tickets: Tickets, given: bytes) -> None:
    assert tickets.use(given, "a", "quiz") is None

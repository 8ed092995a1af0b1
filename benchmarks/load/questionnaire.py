"""Requests of the load: the n-th of a run is a function of n alone, as the bytes that go over the wire.

- 25 items, as many as the real questionnaire of the demonstration.
- Each request is by another contact, so that no data of a contact is in a cache.
- All requests of a run have the same length: two fields and one of a few sets of answers are put in.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from ops.demo.phones import ROWS_MAX, demo_phone

ITEMS = 25
CHOSEN = "plan"  # the item in the condition of the campaign
YES, NO = "yes", "not"  # equally long
ANSWER_SETS = 64
ANSWER_SETS_OF_A_CROWD = 8192  # the same answers from many addresses are those of a script
PERCENT = 100
SPREAD = 37  # coprime with 100: the matching requests are spread evenly over each hundred


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """`matching_percent` of the requests match the campaign, evenly spread."""

    quiz_id: str
    matching_percent: int

    @property
    def questions(self) -> tuple[str, ...]:
        return (*(f"item{number:02}" for number in range(1, ITEMS)), CHOSEN)

    def matches(self, number: int) -> bool:
        return number * SPREAD % PERCENT < self.matching_percent


class Wire:
    """Makes whole requests, head and body. `authority` is host:port of the edge.

    Without a `token` each request states a client address of its own, as a proxy would.

    The n-th has the key and the contact `first_key` + n: a second run on one quiz begins after the first.
    """

    def __init__(self, of: Questionnaire, authority: str, token: str, first_key: int = 0) -> None:
        self._of = of
        self._first_key = first_key
        sets = range(ANSWER_SETS if token else ANSWER_SETS_OF_A_CROWD)
        self._answers = {chosen: [_answers(of, chosen, seed) for seed in sets] for chosen in (YES, NO)}
        length = len(self.body(0))
        self._caller = b"Authorization: Bearer %b" % token.encode() if token else b""
        self._head = (
            f"POST /quiz/{of.quiz_id}/completions HTTP/1.1\r\nHost: {authority}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\nIdempotency-Key: n"
        ).encode()

    def body(self, number: int) -> bytes:
        phone = demo_phone(self._of.quiz_id, (self._first_key + number) % ROWS_MAX)
        chosen = YES if self._of.matches(number) else NO
        return b'{"contact":{"phone":"%b"},"answers":%b}' % (
            phone.encode(),
            self._answers[chosen][number % len(self._answers[chosen])],
        )

    def request(self, number: int) -> bytes:
        key = self._first_key + number
        return b"%b%09d\r\n%b\r\n\r\n%b" % (self._head, key, self._caller or _address(key), self.body(number))


def _address(number: int) -> bytes:
    """A million addresses, equally long; those of one network come far apart, as in a crowd."""
    return b"X-Forwarded-For: 45.1%02d.1%02d.1%02d" % (
        number % 100,
        number // 100 % 100,
        number // 10_000 % 100,
    )


def _answers(of: Questionnaire, chosen: str, seed: int) -> bytes:
    rng = random.Random(seed)
    given = {question: str(rng.randint(1, 6)) for question in of.questions[:-1]}
    return msgspec.json.encode({**given, CHOSEN: chosen})

from __future__ import annotations

import msgspec
import pytest

from benchmarks.load.questionnaire import CHOSEN, YES, Questionnaire, Wire
from ingest_api.completions.parse import parse
from ingest_api.completions.receive import personal_of


@pytest.mark.parametrize("percent", [0, 1, 10, 37, 100])
def test_of_each_hundred_requests_as_many_match_as_were_asked_for(percent: int) -> None:
    quiz = Questionnaire("quiz", percent)
    for hundred in range(3):
        numbers = range(hundred * 100, hundred * 100 + 100)
        assert sum(map(quiz.matches, numbers)) == percent


def test_every_request_is_complete_taken_by_the_edge_and_of_somebody_else() -> None:
    quiz = Questionnaire("quiz", 10)
    wire = Wire(quiz, "localhost:1", "token", first_key=500)
    phones, keys = set(), set()
    for number in range(300):
        head, _, body = wire.request(number).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert b"Content-Length: %d" % len(body) in lines
        keys.add(next(line for line in lines if line.startswith(b"Idempotency-Key: ")))
        submission = parse(body)
        assert set(submission.answers) == set(quiz.questions)
        assert (submission.answers[CHOSEN] == YES) == quiz.matches(number)
        phones.add(personal_of(msgspec.json.decode(body, type=type(submission)).contact).phone)  # type: ignore[arg-type]
    assert len(phones) == len(keys) == 300


def test_a_second_run_begins_where_the_first_ended() -> None:
    quiz = Questionnaire("quiz", 10)
    first, second = Wire(quiz, "h", "t"), Wire(quiz, "h", "t", first_key=64)
    assert first.body(64).split(b'"answers"')[0] == second.body(0).split(b'"answers"')[0]


def test_requests_without_a_token_are_of_many_clients() -> None:
    wire = Wire(Questionnaire("quiz", 10), "h", "")
    heads = [wire.request(number).partition(b"\r\n\r\n")[0].split(b"\r\n") for number in range(300)]
    assert not any(line.startswith(b"Authorization") for lines in heads for line in lines)
    addresses = {line for lines in heads for line in lines if line.startswith(b"X-Forwarded-For: ")}
    assert len(addresses) == 300
    assert len({len(address) for address in addresses}) == 1

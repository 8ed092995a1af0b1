"""`qualify` with a growing number of campaigns, of which each completion matches about two."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.load.completions import QUESTIONS, campaign, completion
from benchmarks.measure.machine import TOPOLOGY
from pipeline.campaigns.registry import CampaignBook
from pipeline.runtime.record import Record
from pipeline.stages.qualify import Qualify, Wiring
from pipeline.topology.loader import load
from schemas.codec import codec
from schemas.records import Condition

RECORDS = 2_000  # a round; a chunk holds at most as many


class Target(NamedTuple):
    """Conditions, tenant and quiz of a campaign."""

    conditions: list[Condition]
    tenant_id: str = "tenant"
    quiz_id: str = "quiz"


def by_answer(index: int, count: int) -> Target:
    """One quiz; each campaign has its own choice of one question, and a score."""
    chosen = Condition("answers.q0", "eq", [f"choice {index // 2}"])
    return Target([chosen, Condition("score", "gte", [0.0])])


def by_band(index: int, count: int) -> Target:
    """One quiz; each campaign has its own band of the score."""
    low, width = index * 1000.0 / count, 2000.0 / count
    return Target([Condition("score", "gte", [low]), Condition("score", "lt", [low + width])])


def by_quiz(index: int, count: int) -> Target:
    """Ten campaigns a quiz, of which two match."""
    return Target([Condition("answers.q1", "eq", [str(index % 5)])], quiz_id=f"quiz {index // 10}")


def by_tenant(index: int, count: int) -> Target:
    """A quiz and ten campaigns a tenant, of which two match."""
    return by_quiz(index, count)._replace(tenant_id=f"tenant {index // 10}")


Shape = Callable[[int, int], Target]
SHAPES: dict[str, Shape] = {"answer": by_answer, "band": by_band, "quiz": by_quiz, "tenant": by_tenant}


class Judging:
    """The stage and its records; `growth_rounds.Subject`."""

    def __init__(self, shape: str, count: int, records: int = RECORDS) -> None:
        """`shape`: one of SHAPES, the way in which the `count` campaigns differ."""
        book = CampaignBook(lambda: 0)
        for index in range(count):
            target = SHAPES[shape](index, count)
            of = {"tenant_id": target.tenant_id, "quiz_ids": [target.quiz_id], "effective_at": index}
            book.apply(campaign(f"campaign {index}", target.conditions, **of))
        book.go_live()
        windows = load(TOPOLOGY).windows
        self._stage = Qualify(Wiring("outcomes", "matches", "state", windows), book.snapshot)
        self._records = _records(SHAPES[shape], count, records)

    def ready(self) -> Callable[[], int]:
        return self._judge

    def _judge(self) -> int:
        self._stage.process(self._records, lambda _table, keys: [None] * len(keys))
        return len(self._records)

    def matches_per_completion(self) -> float:
        """The work must be the same at each size, else a curve means nothing."""
        result = self._stage.process(self._records, lambda _table, keys: [None] * len(keys))
        matches = sum(output.topic == "matches" for output in result.outputs)
        return matches / len(self._records)


def _records(shape: Shape, count: int, wanted: int) -> list[Record]:
    rng, encode = random.Random(count), codec("completion").encode
    records = []
    for number in range(wanted):
        index = rng.randrange(count)
        target, contact = shape(index, count), f"{number:032x}"
        answers = {"q0": f"choice {index // 2}", "q1": str(rng.randrange(5))}
        answers |= {f"q{question}": str(rng.randrange(9)) for question in range(2, QUESTIONS)}
        of = {"tenant_id": target.tenant_id, "quiz_id": target.quiz_id, "score": rng.random() * 1000}
        value = encode(completion(number, contact, count, answers=answers, **of))
        records.append(Record("completions", 0, number, 0, contact.encode(), value))
    return records

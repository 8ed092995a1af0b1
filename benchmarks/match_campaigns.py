"""What one completion costs to match against many campaigns: `python -m benchmarks.match_campaigns`.

Each completion answers 25 questions and matches about two campaigns, whatever their number: campaigns differ
by an answer, by a band of the score, by their quiz, or by their tenant.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

from pipeline.campaigns.registry import CampaignBook
from schemas.records import Campaign, Completion, Condition, Message, Personal

COMPLETIONS = 5_000
QUESTIONS = 25
CAMPAIGNS = (10, 1_000, 10_000)
TENANT = "tenant"


class Place(NamedTuple):
    """Where a campaign stands, and what it asks for."""

    tenant_id: str
    quiz_id: str
    conditions: list[Condition]


Shape = Callable[[int, int], Place]


def by_answer(index: int, count: int) -> Place:
    """One quiz; each campaign wants its own choice to one question, and a score."""
    chosen = Condition("answers.q0", "eq", [f"choice {index // 2}"])
    return Place(TENANT, "quiz", [chosen, Condition("score", "gte", [0.0])])


def by_band(index: int, count: int) -> Place:
    """One quiz; each campaign wants its own band of the score."""
    low = index * 1000.0 / count
    high = low + 2000.0 / count
    return Place(TENANT, "quiz", [Condition("score", "gte", [low]), Condition("score", "lt", [high])])


def by_quiz(index: int, count: int) -> Place:
    """Ten campaigns a quiz, of which two match."""
    return Place(TENANT, f"quiz {index // 10}", [Condition("answers.q1", "eq", [str(index % 5)])])


def by_tenant(index: int, count: int) -> Place:
    """A quiz and ten campaigns a tenant, of which two match."""
    return by_quiz(index, count)._replace(tenant_id=f"{TENANT} {index // 10}")


SHAPES: dict[str, Shape] = {"answer": by_answer, "band": by_band, "quiz": by_quiz, "tenant": by_tenant}


def campaigns(shape: Shape, count: int) -> Iterator[Campaign]:
    for index in range(count):
        tenant_id, quiz_id, conditions = shape(index, count)
        yield Campaign(
            campaign_id=f"campaign {index}",
            version=1,
            tenant_id=tenant_id,
            name="",
            quiz_ids=[quiz_id],
            active=True,
            effective_at=index,
            month=0,
            conditions=conditions,
            message=Message(kind="text", text="hello"),
        )


def completions(shape: Shape, count: int, rng: random.Random) -> Iterator[Completion]:
    for number in range(COMPLETIONS):
        index = rng.randrange(count)
        place = shape(index, count)
        yield Completion(
            completion_id=str(UUID(int=number)),
            tenant_id=place.tenant_id,
            quiz_id=place.quiz_id,
            quiz_version=1,
            contact_id="c" * 32,
            day=0,
            submitted_at=count,
            accepted_at=count,
            answers={
                "q0": f"choice {index // 2}",
                "q1": str(rng.randrange(5)),
                **{f"q{question}": str(rng.randrange(9)) for question in range(2, QUESTIONS)},
            },
            personal=Personal(phone="+5511987654321"),
            score=rng.random() * 1000,
        )


def measure(shape: Shape, count: int) -> dict[str, float | int]:
    book = CampaignBook(now_ms=lambda: 0)
    started = time.process_time()
    for campaign in campaigns(shape, count):
        book.apply(campaign)
    known = book.snapshot()
    done = list(completions(shape, count, random.Random(count)))
    matched = sum(len(known.holding(completion)) for completion in done)  # builds the index, too
    built_ms = (time.process_time() - started) * 1e3
    started = time.process_time()
    for completion in done:
        known.holding(completion)
    cpu_s = time.process_time() - started
    return {
        "campaigns": count,
        "us_per_completion": round(cpu_s / COMPLETIONS * 1e6, 2),
        "matches_per_completion": round(matched / COMPLETIONS, 2),
        "load_and_first_pass_ms": round(built_ms, 1),
    }


def main() -> None:
    for name, shape in SHAPES.items():
        for count in CAMPAIGNS:
            print(json.dumps({"campaigns_differ_by": name, **measure(shape, count)}))


if __name__ == "__main__":
    main()

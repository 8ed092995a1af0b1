"""Completions and campaigns for the stages alone. The environment of the peers imports this file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from pipeline.campaigns.registry import CampaignBook, Campaigns
from schemas.records import Answer, Campaign, Completion, Condition, Match, Message, Personal

ACCEPTED_AT_MS = 1_770_000_000_000
QUESTIONS = 25
COMPLETIONS_PER_CONTACT = 2
CAMPAIGNS = 10


def completion(number: int, contact_id: str, at_ms: int, **others: Any) -> Completion:
    """The n-th of a benchmark without HTTP. `others`: fields that differ from those here."""
    fields: dict[str, Any] = {
        "completion_id": str(UUID(int=number)),
        "tenant_id": "bench",
        "quiz_id": "quiz",
        "quiz_version": 1,
        "contact_id": contact_id,
        "day": 0,
        "submitted_at": at_ms,
        "accepted_at": at_ms,
        "personal": Personal(phone="+5511912345678"),
    }
    return Completion(**{**fields, **others})


def matched(delivery_id: str, contact_id: str, completion_id: str, at_ms: int, **others: Any) -> Match:
    """A match of a completion. `others`: fields that differ from those here."""
    fields: dict[str, Any] = {
        "tenant_id": "bench",
        "campaign_id": "campaign-0",
        "campaign_version": 1,
        "campaign_month": 0,
        "quiz_id": "quiz",
        "day": 0,
        "variables": {},
        "personal": Personal(phone="+5511912345678"),
    }
    of = {"delivery_id": delivery_id, "contact_id": contact_id, "completion_id": completion_id}
    return Match(**{**fields, **of, "accepted_at": at_ms, **others})


def campaign(campaign_id: str, conditions: list[Condition], **others: Any) -> Campaign:
    """Of tenant `bench` and its quiz, in force from the beginning. `others`: fields that differ."""
    fields: dict[str, Any] = {
        "version": 1,
        "tenant_id": "bench",
        "name": "",
        "quiz_ids": ["quiz"],
        "active": True,
        "effective_at": 0,
        "month": 0,
        "message": Message(kind="text", text="hello"),
    }
    return Campaign(campaign_id=campaign_id, conditions=conditions, **{**fields, **others})


def ten_campaigns() -> Campaigns:
    """Ten campaigns of one quiz; the score of a completion of `for_stages` lies in the band of one."""
    book = CampaignBook(lambda: ACCEPTED_AT_MS)
    for index in range(CAMPAIGNS):
        band = [Condition("score", "gte", [float(index)]), Condition("score", "lt", [index + 1.0])]
        book.apply(campaign(f"campaign-{index}", band))
    book.go_live()
    return book.snapshot()


def answers_of(question_count: int = QUESTIONS) -> dict[str, Answer]:
    return {f"q{question}": str(question % 5) for question in range(question_count)}


def for_stages(count: int) -> Iterator[Completion]:
    """Two of each contact, of which each matches one of `ten_campaigns`."""
    answers = answers_of()
    for number in range(count):
        person = number % max(1, count // COMPLETIONS_PER_CONTACT)
        yield completion(
            number,
            f"{person:032x}",
            ACCEPTED_AT_MS + number,
            answers=answers,
            personal=Personal(phone=f"+55119{person % 10**8:08d}"),
            score=float(person % CAMPAIGNS),
        )

"""Completions and campaigns for tests, with only what a test is about spelled out."""

from __future__ import annotations

from uuid import UUID

from pipeline.runtime.record import Output, Record
from schemas.codec import codec
from schemas.ids import campaign_month, day_of
from schemas.records import Answer, Campaign, Completion, Condition, Consent, Message, Personal, Variable

NOON_MS = 1_770_000_000_000
TENANT = "acme"


def completion(
    number: int = 1,
    *,
    quiz_id: str = "quiz",
    contact_id: str = "c" * 32,
    accepted_at: int = NOON_MS,
    answers: dict[str, Answer] | None = None,
    score: float | None = None,
    phone: str | None = "+5511987654321",
    tenant_id: str = TENANT,
    consent: Consent | None = None,
) -> Completion:
    return Completion(
        completion_id=str(UUID(int=number)),
        tenant_id=tenant_id,
        quiz_id=quiz_id,
        quiz_version=1,
        contact_id=contact_id,
        day=day_of(accepted_at),
        submitted_at=accepted_at,
        accepted_at=accepted_at,
        answers=answers or {},
        personal=Personal(phone=phone),
        consent=consent,
        score=score,
    )


def campaign(
    campaign_id: str = "welcome",
    version: int = 1,
    *,
    quiz_ids: tuple[str, ...] = ("quiz",),
    conditions: tuple[Condition, ...] = (),
    effective_at: int = 0,
    ends_at: int | None = None,
    active: bool = True,
    tenant_id: str = TENANT,
    variables: tuple[Variable, ...] = (),
) -> Campaign:
    return Campaign(
        campaign_id=campaign_id,
        version=version,
        tenant_id=tenant_id,
        name=campaign_id,
        quiz_ids=list(quiz_ids),
        active=active,
        effective_at=effective_at,
        month=campaign_month(NOON_MS),
        conditions=list(conditions),
        message=Message(kind="text", text="hello", variables=list(variables)),
        ends_at=ends_at,
    )


def record(event: Completion, offset: int, *, topic: str = "completions", partition: int = 0) -> Record:
    return Record(
        topic,
        partition,
        offset,
        event.accepted_at,
        event.contact_id.encode(),
        codec("completion").encode(event),
    )


def as_record(output: Output, offset: int, *, partition: int = 0) -> Record:
    """An output as the next stage finds it in the log."""
    return Record(output.topic, partition, offset, NOON_MS, output.key, output.value)

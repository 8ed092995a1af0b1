"""The frozen Python type of each event; `schemas/*.avsc` is its wire form and `schemas.codec` the way between.

Times are integer milliseconds since the epoch (UTC), days are integer days since the epoch: what Avro's logical types
carry, without a `datetime` a field on the hot path.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Answer = str | int | float | bool | list[str]


class Personal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that says who somebody is; nothing outside this sub-record does."""

    phone: str | None = None  # canonical E.164
    name: str | None = None
    email: str | None = None


class Completion(msgspec.Struct, frozen=True):
    completion_id: str
    tenant_id: str
    quiz_id: str
    quiz_version: int
    contact_id: str
    day: int
    submitted_at: int
    accepted_at: int
    answers: dict[str, Answer]
    personal: Personal
    score: float | None = None
    region: str = ""


class MatchedCampaign(msgspec.Struct, frozen=True):
    campaign_id: str
    version: int


Verdict = Literal["limited", "unmatched", "matched"]


class Outcome(msgspec.Struct, frozen=True):
    completion_id: str
    tenant_id: str
    quiz_id: str
    contact_id: str
    day: int
    accepted_at: int
    verdict: Verdict
    source_partition: int
    source_offset: int
    reason: str = ""
    campaigns: list[MatchedCampaign] = []


class Match(msgspec.Struct, frozen=True):
    delivery_id: str
    tenant_id: str
    campaign_id: str
    campaign_version: int
    campaign_month: int
    contact_id: str
    completion_id: str
    quiz_id: str
    day: int
    accepted_at: int
    variables: dict[str, str]
    personal: Personal
    priority: int = 0
    delay_s: int = 0


class Duplicate(msgspec.Struct, frozen=True):
    tenant_id: str
    campaign_id: str
    contact_id: str
    completion_id: str
    first_completion_id: str
    day: int
    accepted_at: int


class DeliveryEvent(msgspec.Struct, frozen=True):
    delivery_id: str
    tenant_id: str
    campaign_id: str
    contact_id: str
    completion_id: str
    sequence: int
    state: str
    at: int
    reason: str = ""
    provider_message_id: str | None = None


class WebhookBody(msgspec.Struct, frozen=True):
    body: bytes


class ProviderWebhook(msgspec.Struct, frozen=True):
    provider: str
    account: str
    received_at: int
    personal: WebhookBody


class DeadRecord(msgspec.Struct, frozen=True):
    key: bytes | None = None
    value: bytes | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    dead_letter_id: str
    source_topic: str
    source_partition: int
    source_offset: int
    stage: str
    reason: str
    failed_at: int
    source_timestamp: int
    personal: DeadRecord
    attempts: int = 1


class Question(msgspec.Struct, frozen=True):
    question_id: str
    text: str = ""
    right_answer: str | None = None


class Quiz(msgspec.Struct, frozen=True):
    quiz_id: str
    tenant_id: str
    version: int
    title: str
    questions: list[Question]
    created_at: int
    open: bool = True


Op = Literal["eq", "ne", "lt", "lte", "gt", "gte", "one_of", "exists", "absent"]


class Condition(msgspec.Struct, frozen=True):
    field: str
    op: Op
    values: list[str | float | bool] = []


class Variable(msgspec.Struct, frozen=True):
    name: str
    source: str
    fallback: str | None = None


class Message(msgspec.Struct, frozen=True):
    kind: Literal["template", "text", "image"]
    template: str | None = None
    language: str = "pt_BR"
    text: str | None = None
    image_url: str | None = None
    variables: list[Variable] = []


class Campaign(msgspec.Struct, frozen=True):
    campaign_id: str
    version: int
    tenant_id: str
    name: str
    quiz_ids: list[str]
    active: bool
    effective_at: int
    month: int
    conditions: list[Condition]
    message: Message
    ends_at: int | None = None
    priority: int = 0
    delay_s: int = 0


class Token(msgspec.Struct, frozen=True):
    token_hash: str
    tenant_id: str
    version: int
    kind: Literal["service"] = "service"
    revoked: bool = False


Event = (
    Completion | Outcome | Match | Duplicate | DeliveryEvent | ProviderWebhook | DeadLetter | Quiz | Campaign | Token
)

"""The frozen Python type of each event; `schemas/*.avsc` is its wire form, `schemas.codec` converts.

Times are integer milliseconds since the epoch (UTC), days are integer days since the epoch: the values of
Avro's logical types, without creating a `datetime` per field on the hot path.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

Answer = str | Int64 | float | bool | list[str]

EVERY_TENANT = "*"  # in the place of a tenant's id: of a number or a token that serves all


class Personal(msgspec.Struct, frozen=True, omit_defaults=True):
    """All personal data of an event: no field outside this sub-record identifies a person."""

    phone: str | None = None  # canonical E.164
    name: str | None = None
    email: str | None = None


class Consent(msgspec.Struct, frozen=True):
    """A person's decision about messages, with the id of the text that was shown."""

    granted: bool
    text: str


class Completion(msgspec.Struct, frozen=True):
    completion_id: str
    tenant_id: str
    quiz_id: str
    quiz_version: Int32
    contact_id: str
    day: Int32
    submitted_at: Int64
    accepted_at: Int64
    answers: dict[str, Answer]
    personal: Personal
    score: float | None = None
    region: str = ""
    clock_ahead_ms: Int64 = 0
    consent: Consent | None = None


class MatchedCampaign(msgspec.Struct, frozen=True):
    campaign_id: str
    version: Int32


Verdict = Literal["limited", "unmatched", "matched"]


class Outcome(msgspec.Struct, frozen=True):
    completion_id: str
    tenant_id: str
    quiz_id: str
    contact_id: str
    day: Int32
    accepted_at: Int64
    verdict: Verdict
    source_partition: Int32
    source_offset: Int64
    reason: str = ""
    campaigns: list[MatchedCampaign] = []


class Match(msgspec.Struct, frozen=True):
    delivery_id: str
    tenant_id: str
    campaign_id: str
    campaign_version: Int32
    campaign_month: Int32
    contact_id: str
    completion_id: str
    quiz_id: str
    day: Int32
    accepted_at: Int64
    variables: dict[str, str]
    personal: Personal
    priority: Int32 = 0
    delay_s: Int64 = 0


class Duplicate(msgspec.Struct, frozen=True):
    tenant_id: str
    campaign_id: str
    contact_id: str
    completion_id: str
    first_completion_id: str
    day: Int32
    accepted_at: Int64


class DeliveryEvent(msgspec.Struct, frozen=True):
    delivery_id: str
    tenant_id: str
    campaign_id: str
    contact_id: str
    completion_id: str
    sequence: Int32
    state: str
    at: Int64
    reason: str = ""
    provider_message_id: str | None = None
    attempts: Int32 = 0
    attempt_id: str | None = None
    number_id: str | None = None


ProgressKind = Literal["started", "progressed", "abandoned", "completed"]


class Progress(msgspec.Struct, frozen=True):
    visit_id: str
    tenant_id: str
    quiz_id: str
    quiz_version: Int32
    day: Int32
    kind: ProgressKind
    position: Int32
    question_id: str
    at: Int64
    accepted_at: Int64


class WebhookBody(msgspec.Struct, frozen=True):
    body: bytes


class ProviderWebhook(msgspec.Struct, frozen=True):
    provider: str
    account: str
    received_at: Int64
    personal: WebhookBody


class DeadRecord(msgspec.Struct, frozen=True):
    key: bytes | None = None
    value: bytes | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    dead_letter_id: str
    source_topic: str
    source_partition: Int32
    source_offset: Int64
    stage: str
    reason: str
    failed_at: Int64
    source_timestamp: Int64
    personal: DeadRecord
    attempts: Int32 = 1
    redriven_from: str | None = None


class Question(msgspec.Struct, frozen=True):
    question_id: str
    text: str = ""
    right_answer: str | None = None


class Quiz(msgspec.Struct, frozen=True):
    quiz_id: str
    tenant_id: str
    version: Int32
    title: str
    questions: list[Question]
    created_at: Int64
    open: bool = True
    former_questions: list[str] = []


Op = Literal["eq", "ne", "lt", "lte", "gt", "gte", "one_of", "exists", "absent"]


class Condition(msgspec.Struct, frozen=True):
    field: str
    op: Op
    values: list[str | float | bool] = []


class Variable(msgspec.Struct, frozen=True):
    name: str
    source: str
    fallback: str | None = None
    links_allowed: bool = False
    line_breaks_allowed: bool = False
    chars_max: Int32 | None = None


class Message(msgspec.Struct, frozen=True):
    kind: Literal["template", "text", "image"]
    template: str | None = None
    language: str = "pt_BR"
    text: str | None = None
    image_url: str | None = None
    variables: list[Variable] = []
    subject: str | None = None


Channel = Literal["whatsapp", "sms", "email"]


class ChannelText(msgspec.Struct, frozen=True):
    """What a campaign sends on a further channel, with the variables of its message."""

    channel: Channel
    text: str
    subject: str | None = None


class Campaign(msgspec.Struct, frozen=True):
    """`message` goes by `channel`; where that cannot reach a contact, by the first of `next_channels`
    that can.
    """

    campaign_id: str
    version: Int32
    tenant_id: str
    name: str
    quiz_ids: list[str]
    active: bool
    effective_at: Int64
    month: Int32
    conditions: list[Condition]
    message: Message
    ends_at: Int64 | None = None
    priority: Int32 = 0
    delay_s: Int64 = 0
    channel: Channel = "whatsapp"
    next_channels: list[ChannelText] = []


class Token(msgspec.Struct, frozen=True):
    """A service token, an API key (it has a `role`), or the revocation of a signed token.

    `scopes`: what an API key may do of what its role may; empty: all. `expires_at`: ms since the epoch.
    """

    token_hash: str
    tenant_id: str
    version: Int32
    kind: Literal["service"] = "service"
    revoked: bool = False
    role: str = ""
    scopes: list[str] = []
    expires_at: Int64 | None = None
    key_id: str = ""


class Tenant(msgspec.Struct, frozen=True):
    """`limits`: of the edge, by name; those that are absent are the topology's."""

    tenant_id: str
    version: Int32
    limits: dict[str, Int64] = {}


class WebhookKey(msgspec.Struct, frozen=True):
    """Of the webhook address of one number. `former_hash`: accepted too, until `former_until` (epoch ms)."""

    number_id: str
    provider: str
    version: Int32
    key_hash: str
    former_hash: str = ""
    former_until: Int64 = 0


Event = (
    Completion
    | Outcome
    | Match
    | Duplicate
    | DeliveryEvent
    | Progress
    | ProviderWebhook
    | DeadLetter
    | Quiz
    | Campaign
    | Token
    | WebhookKey
    | Tenant
)

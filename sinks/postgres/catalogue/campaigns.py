"""Campaigns: immutable versions, each in force only after every agent has received it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec

from pipeline.campaigns import channels, quiz_check
from pipeline.topology.file import Campaigns as Limits
from schemas.codec import codec
from schemas.ids import campaign_key, campaign_month
from schemas.records import Campaign, Channel, ChannelText, Condition, Message
from sinks.postgres.catalogue.event_size import EVENT_BYTES_MAX, too_large
from sinks.postgres.catalogue.quizzes import BAD_ID, ID, quizzes_unchanged
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.connect import Connection
from sinks.postgres.outbox import enqueue
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
CAMPAIGNS_ROLE = "campaigns"
DELAY_S_MAX = 400 * 86_400
PRIORITY_MAX = 1_000_000
QUIZZES_MAX = 100  # of one campaign: each is locked while it is saved


class CampaignDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A campaign without version, month and activation time, which are set when it is saved.

    `ends_at`: ms since the epoch. `channel`: of the message; `next_channels` follow where it cannot reach a
    contact. An inactive draft ends the version before it.
    """

    campaign_id: str
    tenant_id: str
    name: str
    quiz_ids: list[str]
    message: Message
    conditions: list[Condition] = []
    active: bool = True
    ends_at: int | None = None
    priority: int = 0
    delay_s: int = 0
    channel: Channel = "whatsapp"
    next_channels: list[ChannelText] = []


class CampaignRejected(Rejection):
    """The campaign cannot be saved."""


class UnknownCampaign(Rejection):
    """There is no such campaign."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(campaign_id, ["there is no such campaign"])


def save_campaign(
    connection: Connection,
    draft: CampaignDraft,
    limits: Limits,
    now_ms: int,
    bytes_max: int = EVENT_BYTES_MAX,
) -> Campaign:
    """Save a draft; return the new version, or the newest one if `draft` does not change it.

    - A new version applies to completions accepted from `limits.activation_delay_ms` after `now_ms`, and
      after its predecessor came into force.
    - A cancelled campaign stays cancelled.
    - Raises `CampaignRejected` with every problem: unknown quiz, conditions that can never be evaluated, a
      message that could be empty or incomplete, a limit, an event of more than `bytes_max`; and
      `UnknownTenant`.
    """
    with connection.transaction():
        if connection.execute(QUERIES["tenant_exists"], [draft.tenant_id]).fetchone() is None:
            raise UnknownTenant(draft.tenant_id)
        problems = _problems(connection, draft, limits)
        if problems:
            raise CampaignRejected(draft.campaign_id, problems)
        month = campaign_month(now_ms)
        connection.execute(QUERIES["begin_campaign"], [draft.campaign_id, draft.tenant_id, month, now_ms])
        tenant_id, month, cancelled = _locked(connection, draft.campaign_id)
        if tenant_id != draft.tenant_id:
            raise CampaignRejected(draft.campaign_id, ["it belongs to another tenant"])
        newest = newest_campaign(connection, draft.campaign_id)
        if newest is not None and _says_the_same(draft, newest, cancelled=cancelled):
            return newest
        if cancelled:
            raise CampaignRejected(draft.campaign_id, ["it was cancelled: save it under another id"])
        after = _next(draft, newest, month, limits, now_ms)
        problems = too_large(*_event(after), bytes_max)
        if problems:
            raise CampaignRejected(draft.campaign_id, problems)
        return _append(connection, after)


def cancel_campaign(connection: Connection, campaign_id: str, now_ms: int) -> Campaign:
    """Cancel permanently: from now on no call starts for the campaign, and no completion matches it.

    Returns its last, inactive version; cancelling again changes nothing. Raises `UnknownCampaign`.
    """
    with connection.transaction():
        _, _, cancelled = _locked(connection, campaign_id)
        newest = newest_campaign(connection, campaign_id)
        if newest is None:
            raise UnknownCampaign(campaign_id)
        if cancelled:
            return newest
        connection.execute(QUERIES["mark_cancelled"], [now_ms, campaign_id])
        last = msgspec.structs.replace(
            newest,
            version=newest.version + 1,
            active=False,
            effective_at=max(now_ms, newest.effective_at + 1),
        )
        return _append(connection, last)


def newest_campaign(connection: Connection, campaign_id: str) -> Campaign | None:
    """Return the newest version, in force or not yet."""
    row = connection.execute(QUERIES["newest_version"], [campaign_id]).fetchone()
    return None if row is None else msgspec.convert(row[0], Campaign)


def _locked(connection: Connection, campaign_id: str) -> tuple[str, int, bool]:
    row = connection.execute(QUERIES["lock_campaign"], [campaign_id]).fetchone()
    if row is None:
        raise UnknownCampaign(campaign_id)
    return cast(tuple[str, int, bool], row)


def _says_the_same(draft: CampaignDraft, newest: Campaign, *, cancelled: bool) -> bool:
    # Cancelling has created an inactive version of it; saving the same draft again does not reactivate it.
    stored = {name: getattr(newest, name) for name in draft.__struct_fields__}
    return CampaignDraft(**(stored | {"active": draft.active if cancelled else newest.active})) == draft


def _next(draft: CampaignDraft, newest: Campaign | None, month: int, limits: Limits, now_ms: int) -> Campaign:
    earliest = now_ms + limits.activation_delay_ms
    return Campaign(
        version=1 if newest is None else newest.version + 1,
        # If the clock was set back, the version still comes after its predecessor.
        effective_at=earliest if newest is None else max(earliest, newest.effective_at + 1),
        month=month,
        **{name: getattr(draft, name) for name in draft.__struct_fields__},
    )


def _append(connection: Connection, campaign: Campaign) -> Campaign:
    definition = msgspec.json.encode(campaign).decode()
    connection.execute(
        QUERIES["insert_version"],
        [campaign.campaign_id, campaign.version, definition, campaign.effective_at],
    )
    enqueue(connection, CAMPAIGNS_ROLE, *_event(campaign))
    return campaign


def _event(campaign: Campaign) -> tuple[bytes, bytes]:
    """Its key and value."""
    return campaign_key(campaign.campaign_id, campaign.version), codec("campaign").encode(campaign)


def _problems(connection: Connection, draft: CampaignDraft, limits: Limits) -> list[str]:
    problems = []
    if not ID.fullmatch(draft.campaign_id):
        problems.append(BAD_ID)
    if not draft.quiz_ids:
        problems.append("it names no quiz")
    if len(draft.conditions) > limits.conditions_max:
        problems.append(f"it has {len(draft.conditions)} conditions; at most {limits.conditions_max}")
    if len(draft.message.variables) > limits.variables_max:
        problems.append(f"it has {len(draft.message.variables)} variables; at most {limits.variables_max}")
    if not 0 <= draft.delay_s <= DELAY_S_MAX:
        problems.append(f"its delay must lie between 0 and {DELAY_S_MAX} s")
    if abs(draft.priority) > PRIORITY_MAX:
        problems.append(f"its priority must lie between -{PRIORITY_MAX} and {PRIORITY_MAX}")
    if len(draft.quiz_ids) > QUIZZES_MAX:
        return [*problems, f"it names {len(draft.quiz_ids)} quizzes; at most {QUIZZES_MAX}"]
    quizzes = quizzes_unchanged(connection, draft.tenant_id, draft.quiz_ids)
    known = {quiz.quiz_id for quiz in quizzes}
    problems += [f'its tenant has no quiz "{quiz_id}"' for quiz_id in draft.quiz_ids if quiz_id not in known]
    problems += channels.problems(draft.channel, draft.next_channels)
    return problems + quiz_check.problems(draft.conditions, draft.message, quizzes, draft.next_channels)

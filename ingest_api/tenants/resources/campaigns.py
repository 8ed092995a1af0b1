"""Campaigns of the tenant: conditions, message, and whether they send."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from ingest_api.http.problems import rejection, shown
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation, unknown
from ingest_api.tenants.api.problems import HELD
from schemas.records import Campaign, Channel, ChannelText, Condition, Message
from sinks.delivery.stop_switch import end_pause_of_tenant, pause_by_tenant, scope_of, stopped_by_others
from sinks.postgres.catalogue.campaigns import CampaignDraft, newest_campaign
from sinks.postgres.catalogue.event_size import event_bytes_max
from sinks.postgres.catalogue.operations import add_campaign, end_campaign
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, as_mappings, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("campaigns.sql"))
ID_BYTES = 12


class CampaignContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant writes of a campaign. `ends_at`: ms since the epoch; `delay_s`: before each message.

    `channel`: of the message; where it does not reach a contact, `next_channels` follow. A change keeps what
    it leaves out; a new campaign is active, without conditions and end, by WhatsApp alone.
    """

    name: str
    quiz_ids: list[str]
    message: Message
    conditions: list[Condition] | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    ends_at: int | UnsetType | None = UNSET
    priority: int | UnsetType = UNSET
    delay_s: int | UnsetType = UNSET
    channel: Channel | UnsetType = UNSET
    next_channels: list[ChannelText] | UnsetType = UNSET


class CampaignShown(msgspec.Struct, frozen=True):
    """Its newest version, which applies to completions accepted from `effective_at` (ms since the epoch).

    `state`: active, inactive, cancelled, paused (by the tenant) or stopped (by the operator or the provider).
    """

    campaign_id: str
    version: int
    state: str
    name: str
    quiz_ids: list[str]
    message: Message
    conditions: list[Condition]
    ends_at: int | None
    priority: int
    delay_s: int
    channel: Channel
    next_channels: list[ChannelText]
    effective_at: int


class ListedCampaign(NamedTuple):
    campaign_id: str
    version: int
    name: str
    state: str
    created_at: datetime


class _State(NamedTuple):
    state: str


ReasonText = Annotated[str, msgspec.Meta(max_length=500)]


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; without personal data, for the audit log."""

    reason: ReasonText = ""


def create(call: Call) -> Answer:
    return Answer(_save(call, f"cp-{call.random_text(ID_BYTES)}"), 201)


def read(call: Call) -> Answer:
    return Answer(_current(call, call.id))


def replace(call: Call) -> Answer:
    call.require_unchanged(_lock(call))
    return Answer(_save(call, call.id))


def listed(call: Call) -> Answer:
    parameters = {"tenant": call.tenant_id, "after": call.after or "", "limit": PAGE_ROWS + 1}
    found = fetch(call.connection, QUERIES["list_campaigns"], ListedCampaign, parameters)
    return Answer(as_mappings(page_of(found, PAGE_ROWS, lambda one: one.campaign_id)))


def pause(call: Call) -> Answer:
    """No call starts for the campaign any more; deliveries wait."""
    _lock(call)
    pause_by_tenant(call.connection, scope_of("campaign", call.id), call.body.reason, call.actor)
    return Answer(_current(call, call.id))


def resume(call: Call) -> Answer:
    _lock(call)
    end_pause(call, scope_of("campaign", call.id))
    return Answer(_current(call, call.id))


def end_pause(call: Call, scope: str) -> None:
    """End the tenant's own pause. Raises Rejection where there is none, and others have stopped the scope."""
    if end_pause_of_tenant(call.connection, scope, call.actor):
        return
    why = stopped_by_others(call.connection, scope)
    if why is not None:
        raise rejection(HELD, f"it was stopped{f': {shown(why)}' if why else ''}")


def cancel(call: Call) -> Answer:
    """Permanently."""
    _lock(call)
    end_campaign(call.connection, call.actor, call.id, call.now_ms)
    return Answer(_current(call, call.id))


def _current(call: Call, campaign_id: str) -> CampaignShown:
    given = {"id": campaign_id, "tenant": call.tenant_id}
    states = fetch(call.connection, QUERIES["campaign_state"], _State, given)
    newest = newest_campaign(call.connection, campaign_id)
    if not states or newest is None:
        raise unknown("campaign")
    return _shown(newest, states[0].state)


def _lock(call: Call) -> CampaignShown:
    """Return it as it stays until the end of the transaction."""
    call.connection.execute(QUERIES["lock_campaign"], {"id": call.id, "tenant": call.tenant_id})
    return _current(call, call.id)


def _save(call: Call, campaign_id: str) -> CampaignShown:
    content: CampaignContent = call.body
    named = {name: getattr(content, name) for name in content.__struct_fields__}
    given = {name: value for name, value in named.items() if value is not UNSET}
    newest = newest_campaign(call.connection, campaign_id)
    if newest is None:
        draft = CampaignDraft(campaign_id, call.tenant_id, **given)
    else:
        kept = {name: getattr(newest, name) for name in named}
        draft = CampaignDraft(campaign_id, call.tenant_id, **(kept | given))
    limits = call.topology.campaigns
    bytes_max = event_bytes_max(call.topology.topic("campaigns"))
    add_campaign(call.connection, call.actor, draft, limits, call.now_ms, bytes_max)
    return _current(call, campaign_id)


def _shown(campaign: Campaign, state: str) -> CampaignShown:
    if state == "running":
        state = "active" if campaign.active else "inactive"
    return CampaignShown(
        campaign.campaign_id,
        campaign.version,
        state,
        campaign.name,
        campaign.quiz_ids,
        campaign.message,
        campaign.conditions,
        campaign.ends_at,
        campaign.priority,
        campaign.delay_s,
        campaign.channel,
        campaign.next_channels,
        campaign.effective_at,
    )


PATH = "/v1/campaigns/{id}"
OPERATIONS = (
    Operation(
        *("listCampaigns", "GET", "/v1/campaigns", "read", "List campaigns, by id", listed),
        answer=Page[ListedCampaign],
        id_at="/items/0/campaign_id",
        query=AFTER,
    ),
    Operation(
        *("createCampaign", "POST", "/v1/campaigns", "write", "Create a campaign", create),
        answer=CampaignShown,
        id_at="/campaign_id",
        body=CampaignContent,
        status=201,
    ),
    Operation(*("readCampaign", "GET", PATH, "read", "Read a campaign", read), answer=CampaignShown),
    Operation(
        *("replaceCampaign", "PUT", PATH, "write", "Replace a campaign: its next version", replace),
        answer=CampaignShown,
        body=CampaignContent,
        conditional=True,
    ),
    Operation(
        *("pauseCampaign", "POST", f"{PATH}/pause", "write", "Send nothing for a campaign", pause),
        answer=CampaignShown,
        body=Reason,
    ),
    Operation(
        *("resumeCampaign", "POST", f"{PATH}/resume", "write", "Send for it again", resume),
        answer=CampaignShown,
    ),
    Operation(
        *("cancelCampaign", "POST", f"{PATH}/cancel", "write", "Cancel it permanently", cancel),
        answer=CampaignShown,
    ),
)

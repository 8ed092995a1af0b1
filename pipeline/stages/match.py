"""Which campaigns match a completion, as of the moment it was accepted, and the event of each match."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from pipeline.campaigns.conditions import ANSWERS
from pipeline.campaigns.registry import Campaigns
from pipeline.stages.contact_memory import Allowed
from schemas.ids import delivery_id
from schemas.records import Answer, Campaign, Completion, Match

NO_PHONE = "no phone"
NO_CONSENT = "consent was not granted"


class Matched(msgspec.Struct, frozen=True):
    """The verdict `matched`."""

    campaigns: list[Campaign]  # by campaign id, at least one


class Unmatched(msgspec.Struct, frozen=True):
    """The verdict `unmatched`."""

    reason: str = ""


def match(completion: Completion, campaigns: Campaigns) -> Matched | Unmatched:
    """The campaigns in force at the completion's acceptance whose conditions hold."""
    # Most have a phone and state no consent: they cost no call.
    if (completion.personal.phone is None or completion.consent) and (forbidden := forbidden_by(completion)):
        return Unmatched(forbidden)
    holding = campaigns.holding(completion)
    return Matched(holding) if holding else Unmatched()


def forbidden_by(completion: Completion) -> str:
    """Why no campaign may write to the person for this completion; empty where one may."""
    if completion.personal.phone is None:
        return NO_PHONE
    return NO_CONSENT if completion.consent is not None and not completion.consent.granted else ""


class MatchStep:
    """The step `match`: decides every completion that it is given."""

    def __call__(
        self, completion: Completion, allowed: Sequence[Allowed], campaigns: Campaigns
    ) -> Matched | Unmatched:
        return match(completion, campaigns)


def match_event(completion: Completion, campaign: Campaign, quiz_title: str | None) -> Match:
    return Match(
        delivery_id=delivery_id(campaign.campaign_id, completion.contact_id),
        tenant_id=completion.tenant_id,
        campaign_id=campaign.campaign_id,
        campaign_version=campaign.version,
        campaign_month=campaign.month,
        contact_id=completion.contact_id,
        completion_id=completion.completion_id,
        quiz_id=completion.quiz_id,
        day=completion.day,
        accepted_at=completion.accepted_at,
        variables=variables(completion, campaign, quiz_title),
        personal=completion.personal,
        priority=campaign.priority,
        delay_s=campaign.delay_s,
    )


def variables(completion: Completion, campaign: Campaign, quiz_title: str | None) -> dict[str, str]:
    """The message's variables that are not personal; one without a value is absent."""
    found = {}
    for variable in campaign.message.variables:
        source = variable.source
        value: Answer | None
        if source == "score":
            value = completion.score
        elif source == "quiz.title":
            value = quiz_title
        elif source.startswith(ANSWERS):
            value = completion.answers.get(source[len(ANSWERS) :])
        else:
            value = None
        if value is not None and (text := _shown(value)):
            found[variable.name] = text
    return found


def _shown(value: Answer) -> str:
    """A readable form: whole numbers without a fraction, choices with commas; empty for no value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, list):
        return ", ".join(choice for choice in (choice.strip() for choice in value) if choice)
    return str(value).strip()

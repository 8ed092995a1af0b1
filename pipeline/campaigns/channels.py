"""The channels of a campaign, in their order, and its message on each of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.campaigns.message import PLACE
from schemas.records import Campaign, Channel, ChannelText, Message


def message_on(campaign: Campaign, channel: str) -> Message | None:
    """The campaign's message on the channel; None if it does not name it.

    The text of a further channel has the variables of the campaign's message, as far as it uses them.
    """
    if channel == campaign.channel:
        return campaign.message
    return next(
        (text_of(campaign.message, one) for one in campaign.next_channels if one.channel == channel), None
    )


def text_of(message: Message, further: ChannelText) -> Message:
    used = set(PLACE.findall(f"{further.text} {further.subject or ''}"))
    variables = [variable for variable in message.variables if variable.name in used]
    return Message(kind="text", text=further.text, variables=variables, subject=further.subject)


def problems(channel: Channel, next_channels: Sequence[ChannelText]) -> list[str]:
    """Why a campaign cannot have these channels, one line each."""
    names = [channel, *(one.channel for one in next_channels)]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f'channel "{name}" is named twice' for name in twice]

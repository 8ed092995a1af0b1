"""Twilio Programmable Messaging as a provider of SMS."""

from __future__ import annotations

from sinks.actions import Action
from sinks.connection import Lines
from sinks.http_api import HttpProvider
from sinks.messaging.sms import client, codes
from sinks.messaging.sms.segments import problem_of
from sinks.outcomes import Outcome
from sinks.provider import NO_CALLBACKS, Answer, Callbacks, Channel, Client, Limits


class Twilio(HttpProvider):
    name = "twilio"
    channel: Channel = "sms"
    can_find = False
    is_session = False
    limits = Limits(
        text_chars_max=1600,
        caption_chars_max=0,
        parameter_chars_max=0,
        media_bytes_max={},
        has_templates=False,
        text_problem=problem_of,
    )

    def open(
        self, number_id: str, credential: str, lines: Lines, callbacks: Callbacks = NO_CALLBACKS
    ) -> Client:
        return client.TwilioClient(number_id, credential, lines, callbacks)

    def outcome_of(self, answer: Answer) -> Outcome:
        return client.outcome_of(answer)

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        return codes.action_of(code, http_status)


PROVIDER = Twilio()

"""UAZAPI as a provider: a WhatsApp Web session behind an HTTP API."""

from __future__ import annotations

from sinks.actions import Action
from sinks.connection import Lines
from sinks.http_api import HttpProvider
from sinks.outcomes import Outcome
from sinks.provider import NO_CALLBACKS, Answer, Callbacks, Channel, Client, Limits
from sinks.whatsapp.uazapi import client, errors

MIB = 1_048_576


class Uazapi(HttpProvider):
    """Codes are the names of its table of errors."""

    name = "uazapi"
    channel: Channel = "whatsapp"
    can_find = True
    is_session = True
    limits = Limits(
        text_chars_max=4096,
        caption_chars_max=1024,
        parameter_chars_max=1024,
        media_bytes_max={"image": 16 * MIB, "video": 100 * MIB, "audio": 100 * MIB, "document": 100 * MIB},
        has_templates=False,
        replaced_by_provider=("{{",),
    )

    def open(
        self, number_id: str, credential: str, lines: Lines, callbacks: Callbacks = NO_CALLBACKS
    ) -> Client:
        return client.UazapiClient(number_id, credential, lines)

    def outcome_of(self, answer: Answer) -> Outcome:
        return client.outcome_of(answer)

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        return errors.action_of(code, http_status)


PROVIDER = Uazapi()

"""Meta's WhatsApp Cloud API as a provider."""

from __future__ import annotations

from sinks.actions import Action
from sinks.connection import Lines
from sinks.http_api import HttpProvider
from sinks.outcomes import Outcome
from sinks.provider import NO_CALLBACKS, Answer, Callbacks, Channel, Client, Limits
from sinks.whatsapp.meta_cloud import client, codes
from sinks.whatsapp.meta_cloud.code_forms import code_of

MIB = 1_048_576


class MetaCloud(HttpProvider):
    """Codes are integers inside this package, and text outside of it."""

    name = "meta-cloud"
    channel: Channel = "whatsapp"
    can_find = False
    is_session = False
    limits = Limits(
        text_chars_max=4096,
        caption_chars_max=1024,
        parameter_chars_max=1024,
        media_bytes_max={"image": 5 * MIB, "video": 16 * MIB, "audio": 16 * MIB, "document": 100 * MIB},
    )

    def open(
        self, number_id: str, credential: str, lines: Lines, callbacks: Callbacks = NO_CALLBACKS
    ) -> Client:
        return client.CloudApi(number_id, credential, lines)

    def outcome_of(self, answer: Answer) -> Outcome:
        return client.outcome_of(answer)

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        number = code_of(code)
        return None if number is None else codes.action_of(number, http_status)


PROVIDER = MetaCloud()

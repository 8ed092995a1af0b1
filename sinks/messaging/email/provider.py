"""A server of SMTP as a provider of e-mail."""

from __future__ import annotations

from collections.abc import Callable

from sinks.actions import Action
from sinks.messaging.email import client, codes
from sinks.messaging.email.connections import Login, SmtpConnections
from sinks.outcomes import Outcome
from sinks.provider import NO_CALLBACKS, Answer, Callbacks, Channel, Client, Limits


class Smtp:
    """Codes are those of `codes.code_of`."""

    name = "smtp"
    channel: Channel = "email"
    url_schemes = ("smtps", "smtp")
    can_find = False
    is_session = False
    limits = Limits(
        text_chars_max=100_000,  # servers take megabytes; a campaign's text is limited before
        caption_chars_max=0,
        parameter_chars_max=0,
        media_bytes_max={},
        has_templates=False,
    )

    def connections(
        self, base_url: str, credential: str, clock: Callable[[], float], *, idle_max: int
    ) -> SmtpConnections:
        return SmtpConnections(base_url, Login.parse(credential), clock, idle_max=idle_max)

    def open(
        self,
        number_id: str,
        credential: str,
        lines: SmtpConnections,
        callbacks: Callbacks = NO_CALLBACKS,
    ) -> Client:
        return client.SmtpClient(number_id, credential, lines, callbacks)

    def outcome_of(self, answer: Answer) -> Outcome:
        return client.outcome_of(answer)

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        return codes.action_of(code, http_status)


PROVIDER = Smtp()

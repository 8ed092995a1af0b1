"""A provider of messages: everything that the sender, the ledger and the audit need of one.

A provider is one package with two modules: `provider` with a `PROVIDER`, and `webhook` with a `SOURCE`
(`sinks/webhook.py`). It is registered in `sinks/providers.py`. No other module names it or its codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.campaigns.message import Rendered, Sizes
from sinks.actions import Action
from sinks.connection import Line, Lines, NoReply, NothingWritten, Reply
from sinks.outcomes import Outcome, Sent

Answer = Reply | NothingWritten | NoReply
"""What the connection knows about one request."""


class CredentialMissing(ValueError):
    """The secret is not there, or cannot be one. Never shows it."""


@dataclass(frozen=True, slots=True)
class Limits(Sizes):
    """What a provider's messages may be. `media_bytes_max` is by kind: image, video, audio, document.

    `replaced_by_provider`: texts in which the provider begins a replacement of its own; no message has one.
    """

    media_bytes_max: Mapping[str, int]
    has_templates: bool = True
    replaced_by_provider: tuple[str, ...] = ()

    def carries(self, kind: str) -> bool:
        """Whether the provider has messages of this kind at all."""
        return kind == "text" or (self.has_templates if kind == "template" else kind in self.media_bytes_max)

    def problem_of(self, message: Rendered) -> str | None:
        """Why the message cannot be sent by this provider, without personal data; None if it can.

        Media are links, whose size is not known here.
        """
        if not self.carries(message.kind):
            return f"the provider takes no message of kind {message.kind}"
        text_max = self.text_max(message.kind)
        if len(message.text or "") > text_max:
            return f"the text is longer than the provider's {text_max} characters"
        if any(len(value) > self.parameter_chars_max for value in message.parameters):
            return f"a parameter is longer than the provider's {self.parameter_chars_max} characters"
        if any(text in (message.text or "") for text in self.replaced_by_provider):
            return "the text has a placeholder that the provider would replace"
        return None


class Client(Protocol):
    """Calls of one sender number."""

    async def send(
        self, line: Line, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        """One call, at most once, on a connection taken before the delivery was marked; gives it back.

        `to` is E.164. `attempt_id` travels with the message where the provider takes it along.
        """
        ...

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        """Looks up the message of an attempt whose call is ambiguous; returns within `timeout_s`.

        A message that is found was sent; None proves nothing, and is the answer of a provider without such a
        query and of every failure.
        """
        ...


class Provider(Protocol):
    """Pure, except for the calls of its clients."""

    @property
    def name(self) -> str:
        """As in `sender_numbers.provider`, in webhook records and in routes."""
        ...

    @property
    def limits(self) -> Limits: ...

    @property
    def can_find(self) -> bool:
        """Whether `Client.find` can find a message: then an ambiguous attempt is looked up, also later."""
        ...

    @property
    def is_session(self) -> bool:
        """A WhatsApp Web session: its numbers have the pace of `sender.session_*` instead of an API's."""
        ...

    def open(self, number_id: str, credential: str, lines: Lines) -> Client:
        """A client of the number. Raises CredentialMissing for a secret that cannot be used."""
        ...

    def outcome_of(self, answer: Answer) -> Outcome:
        """The one rule: no byte written, or a refusal of the provider: not sent. All else is ambiguous."""
        ...

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        """The action for an answer with this code in the provider's error envelope; None if ambiguous."""
        ...

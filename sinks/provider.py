"""A provider of messages: everything that the sender, the ledger and the audit need of one.

A provider is one package with two modules: `provider` with a `PROVIDER`, and `webhook` with a `SOURCE`
(`sinks/webhook.py`). It is registered in `sinks/providers.py`. No other module names it or its codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.campaigns.message import Rendered, Sizes
from schemas.records import Channel as Channel
from sinks.actions import Action
from sinks.connection import NoReply, NothingWritten, Reply
from sinks.outcomes import Outcome, Sent

KINDS = ("text", "image", "video", "audio", "document", "template")

Answer = Reply | NothingWritten | NoReply
"""What the connection knows about one request."""


class CredentialMissing(ValueError):
    """The secret is not there, or cannot be one. Never shows it."""


@dataclass(frozen=True, slots=True)
class Limits(Sizes):
    """What a provider's messages may be. `media_bytes_max` is by kind: image, video, audio, document.

    `replaced_by_provider`: texts in which the provider begins a replacement of its own; no message has one.
    `text_problem`: what else forbids a text, without personal data.
    """

    media_bytes_max: Mapping[str, int]
    has_templates: bool = True
    replaced_by_provider: tuple[str, ...] = ()
    text_problem: Callable[[str], str | None] | None = None

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
        return None if self.text_problem is None else self.text_problem(message.text or "")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Where people and the provider reach the edge, for addresses in a message; and the provider's webhook
    secret, with which an address is signed. Empty where the sender does not have it.
    """

    edge_url: str = ""
    secret: bytes = field(default=b"", repr=False)


NO_CALLBACKS = Callbacks()


class Connections(Protocol):
    """Open connections of one number to its provider. What one of them is, only its client knows."""

    async def take(self) -> Any:
        """An open connection, on which no byte of a message was written; raises CannotConnect."""
        ...

    def give(self, connection: Any) -> None: ...

    def close(self) -> None: ...


class Client(Protocol):
    """Calls of one sender number."""

    async def send(
        self, line: Any, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        """One call, at most once, on a connection taken before the delivery was marked; gives it back.

        `to` is E.164, or an e-mail address (`Provider.channel`). `attempt_id` travels with the message where
        the provider takes it along.
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
    def channel(self) -> Channel:
        """Decides to which address of a contact its messages go: the phone, or the e-mail address."""
        ...

    @property
    def url_schemes(self) -> tuple[str, ...]:
        """Those of a number's address."""
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

    def connections(
        self, base_url: str, credential: str, clock: Callable[[], float], *, idle_max: int
    ) -> Connections:
        """To the number's address; at most `idle_max` idle ones are kept.

        Raises ValueError for an address, or a secret, that cannot be used.
        """
        ...

    def open(
        self, number_id: str, credential: str, lines: Any, callbacks: Callbacks = NO_CALLBACKS
    ) -> Client:
        """A client of the number on these connections. Raises CredentialMissing for a secret that cannot be
        used.
        """
        ...

    def outcome_of(self, answer: Answer) -> Outcome:
        """The one rule: no byte written, or a refusal of the provider: not sent. All else is ambiguous."""
        ...

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        """The action for an answer with this code in the provider's error envelope; None if ambiguous."""
        ...

"""A provider's webhooks, as the edge and the ledger see them: one protocol, one form of what is reported.

The edge verifies and stores the body; the sink parses it. A provider's module `webhook` serves both, so it
imports no client, no connection and no database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import msgspec


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is agreed with a provider: the key of its signatures, and the token of its handshake.

    `signing`: of a number with a key of its own, the key's SHA-256 (hex).
    """

    signing: bytes = field(repr=False)
    verify_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A POST as it came. Header names are lower case; `query` is decoded, the last of equal names.

    `url` is the whole address, as the provider was given it.
    """

    headers: Mapping[bytes, bytes]
    query: Mapping[str, str]
    body: bytes
    url: str = ""


class StatusError(msgspec.Struct, frozen=True):
    """`code` is the provider's, as text; empty where there is none."""

    code: str
    title: str = ""


class Status(msgspec.Struct, frozen=True):
    """What became of one message: `sent`, `delivered`, `read`, `failed`, or what the ledger ignores.

    `at_ms` is the provider's time; `attempt_id` is our callback data; `recipients` are ids of the person.
    """

    message_id: str
    status: str
    at_ms: int
    attempt_id: str | None = None
    errors: tuple[StatusError, ...] = ()
    recipients: tuple[str, ...] = ()


class Inbound(msgspec.Struct, frozen=True):
    """What a person did at the provider: wrote, changed a preference, changed the number.

    `ids` are the provider's ids of this one person, `texts` what may be an opt-out or opt-in: the body, the
    title of a button, its payload. `choice` is set where the provider itself says which of them it is.
    `of_address`: it is also about the e-mail address of the recipient of the message that it replies to.
    `past`: a copy of a message from before the number was connected; only a decision in it is kept.
    """

    ids: tuple[str, ...]
    number_id: str  # ours, that was written to; empty where the body does not state it
    kind: str  # as in metrics: of a closed list
    at_ms: int
    event_id: str = ""  # the provider's; empty where it has none
    texts: tuple[str, ...] = ()
    choice: Literal["stop", "resume"] | None = None
    reason: str = ""  # shown to operators: no personal data
    reply_to: str | None = None  # message id
    past: bool = False
    of_address: bool = False


Effect = Literal[
    "none",
    "hold_account",
    "stop_template",
    "number_limit",
    "allow",
    "session_lost",
    "session_open",
    "quarantine",
]
"""`allow`: what an earlier notice of the same kind forbade is permitted again; nothing is released by it.

`session_lost` pauses the number until `session_open`; `quarantine` holds it until an operator releases it.
"""


class Notice(msgspec.Struct, frozen=True):
    """Something about an account, a number or a template. `kind` and `event` are of closed lists.

    `codes` are errors that are of no message. Ids are empty where the body does not state them: `number_id`
    is ours, `phone` how it is displayed. `effect` is what has to follow; `detail` is for operators,
    without personal data. `stored`: kept as a row, else only counted.
    """

    kind: str
    event: str = ""
    codes: tuple[str, ...] = ()
    number_id: str = ""
    at_ms: int = 0
    account_id: str = ""
    phone: str = ""
    template: str = ""
    language: str = ""
    detail: str = ""
    effect: Effect = "none"
    stored: bool = False


class AccountOfNumber(NamedTuple):
    """Which account a number of ours belongs to, as each of its webhooks states it."""

    account_id: str
    number_id: str
    phone: str


class Webhook(msgspec.Struct, frozen=True):
    """All that matters in one body.

    `odd` counts the parts that could not be read, `notices_over` the notices beyond what one body may have.
    `of_number`: it may speak of this number's messages and people alone; empty: of every number's.
    """

    provider: str
    statuses: tuple[Status, ...]
    inbound: tuple[Inbound, ...]
    odd: int
    notices: tuple[Notice, ...] = ()
    accounts: tuple[AccountOfNumber, ...] = ()
    notices_over: int = 0
    of_number: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """HTML for a person who follows an address of a message."""

    html: str


class Acknowledgement(NamedTuple):
    """The answer to a body that is durable."""

    content_type: bytes
    body: bytes


RECEIVED = Acknowledgement(b"application/json", b'{"received":true}')


class NotAWebhook(ValueError):
    """The body as a whole is not what the provider sends; the message shows nothing of it."""


class WebhookSource(Protocol):
    """One provider's webhooks. Every method is pure and bounded by the size of its input."""

    @property
    def provider(self) -> str:
        """The registered name."""
        ...

    @property
    def signing_variable(self) -> str | None:
        """Name of the environment variable with `Secrets.signing`. Without it there is no route.

        None: each number has an address and a key of its own (`NumberWebhookSource`).
        """
        ...

    @property
    def verify_token_variable(self) -> str | None:
        """Name of the environment variable with `Secrets.verify_token`; None: there is no handshake."""
        ...

    @property
    def acknowledgement(self) -> Acknowledgement:
        """What the provider expects as the answer to a body that was accepted."""
        ...

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> str | Page | None:
        """The text, or the page for a person, to answer a GET with; None refuses it."""
        ...

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        """True where the provider, and nobody else, sent this body. Compares in constant time."""
        ...

    def stored(self, request: WebhookRequest) -> bytes:
        """The body as it may be stored: without tokens that the provider puts into it, and with what only the
        address says.
        """
        ...

    def account_of(self, body: bytes) -> str | None:
        """The account that the body is about, None where it cannot be read: it decides the partition only."""
        ...

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        """`account`: as the record of the body has it. Raises `NotAWebhook`, and nothing else."""
        ...

    def is_opt_out(self, code: str) -> bool:
        """True where a status that failed with this code means that the recipient opted out."""
        ...


@runtime_checkable
class NumberWebhookSource(WebhookSource, Protocol):
    """A provider that signs nothing: the address of each number's webhooks has a key of its own.

    The key proves the number and nothing else. The number of the address is the account of the record.
    """

    def stated_numbers(self, body: bytes) -> Collection[str]:
        """Every number of ours that the body states to be about; empty where it states or is none."""
        ...

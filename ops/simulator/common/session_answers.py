"""What the simulated providers with sessions have in common: a rejection, and the words of one provider."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ops.simulator.common.addresses import Addresses
from ops.simulator.common.numbers import Behaviour
from ops.simulator.common.posting import Posting
from ops.simulator.common.record import Record
from ops.simulator.common.rules import Rules


@dataclass(frozen=True)
class Refusal:
    """`text` goes into the record; `body` is the whole answer."""

    status: int
    text: str
    body: bytes


class Request(NamedTuple):
    to: str
    content: dict[str, Any]


class Message(NamedTuple):
    """A message that was accepted. `shown` is how the provider's API shows it."""

    number: str
    to: str
    message_id: str
    attempt_id: str | None
    shown: dict[str, Any]


class Words(Protocol):
    """How one provider judges a request, and what it answers."""

    name: str
    accepted_status: int
    no_token: Refusal
    bad_token: Refusal
    session_lost: Refusal
    too_many: Refusal

    def request_of(self, kind: str, body: bytes) -> Request | Refusal: ...

    def recipient_in(self, body: bytes) -> str:
        """Of a request that is rejected; empty where it states none."""
        ...

    def message_id_of(self, number: str, sequence: int) -> str:
        """Of the number's n-th message: a function of both, so that a restart repeats none."""
        ...

    def refusal_of(self, code: int, status: int | None, to: str) -> Refusal:
        """For a rule, whose code is the Cloud API's: the same cause as this API reports it."""
        ...

    def message_of(
        self, number: str, to: str, message_id: str, attempt_id: str | None, content: dict[str, Any]
    ) -> Message: ...

    def accepted(self, message: Message) -> bytes: ...

    def error_in(self, body: str) -> str | None:
        """The error text of a body that a rule gives, for the record."""
        ...


class Shared(Protocol):
    """What the simulated providers share: one record, one list of rules, one behaviour."""

    record: Record
    rules: Rules
    behaviour: Behaviour
    posters: list[Posting]
    last_messages: deque[dict[str, Any]]


class SessionWebhooks(Posting):
    """What one provider reports."""

    @abstractmethod
    def statuses_of(self, behaviour: Behaviour, message: Message, statuses: tuple[str, ...] | None) -> None:
        """Plans what is reported about a message that was accepted."""

    @abstractmethod
    def inbound(self, number: str, sender: str, text: str) -> str:
        """A person writes to the number; returns the message's id."""

    @abstractmethod
    def connection(self, number: str, connected: bool, reason: str) -> None:
        """The session of the number is lost, or is there again."""


class NumberWebhooks(SessionWebhooks):
    """Those of a provider that posts each number's to an address of its own."""

    def __init__(self, addresses: Addresses, rng: random.Random, clock: Callable[[], float]) -> None:
        super().__init__(rng, clock)
        self.addresses = addresses


def whatsapp_id_of(number: str, sequence: int) -> str:
    """WhatsApp's id of the number's n-th message."""
    return f"3EB0{int(number):016X}{sequence:08X}"

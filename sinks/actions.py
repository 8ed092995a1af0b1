"""The sender's actions after a provider has rejected a message, the same for every provider.

Each action states the cause of the rejection, and so what must wait, stop or fail. `name` is the text that
the ledger stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Elsewhere = Literal["nowhere", "channel", "provider"]
"""Where a delivery may still go that this rejection ends, or that was rejected so until its attempts were
used up: to the campaign's next channel, or before that to another provider of the same channel."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """Too fast: what shares the limit pauses, the delivery waits for its turn, and no attempt is counted."""

    elsewhere: ClassVar[Elsewhere] = "nowhere"
    scope: Literal["number", "account", "app"] = "number"

    @property
    def name(self) -> str:
        return f"throttle_{self.scope}"


@dataclass(frozen=True, slots=True)
class WaitForPair:
    """Too many messages from this number to this recipient: only this recipient waits.

    `factor` ** X seconds, X from 0 and one more at each attempt, at most `attempts_max` attempts.
    """

    elsewhere: ClassVar[Elsewhere] = "channel"
    factor: float
    attempts_max: int
    name: Literal["wait_for_pair"] = "wait_for_pair"


@dataclass(frozen=True, slots=True)
class Retry:
    """Not sent, and worth another attempt: after `after_s`, or (0) after the usual back-off.

    `attempts_max` 0 is that of the topology.
    """

    elsewhere: ClassVar[Elsewhere] = "channel"
    attempts_max: int = 0
    after_s: float = 0.0
    name: Literal["retry"] = "retry"


@dataclass(frozen=True, slots=True)
class HoldNumber:
    """The number (or every number of its account) may not send: the delivery goes back, unharmed.

    An operator ends it; where it is `until_connected`, the return of the session does, too.
    """

    elsewhere: ClassVar[Elsewhere] = "nowhere"
    state: Literal["paused", "stopped", "quarantined"]
    scope: Literal["number", "account"] = "number"
    until_connected: bool = False

    @property
    def name(self) -> str:
        return f"hold_{self.scope}"


@dataclass(frozen=True, slots=True)
class HoldTemplate:
    """The template may not be used now: every campaign of the tenant that uses it stops, the delivery goes
    back.
    """

    elsewhere: ClassVar[Elsewhere] = "nowhere"
    name: Literal["hold_template"] = "hold_template"


@dataclass(frozen=True, slots=True)
class FailCampaign:
    """Every message of the campaign would be refused the same way: this one fails, the campaign stops."""

    elsewhere: ClassVar[Elsewhere] = "nowhere"
    name: Literal["fail_campaign"] = "fail_campaign"


@dataclass(frozen=True, slots=True)
class FailMessage:
    """The provider rejects the content of this message, which may be due to this recipient's own data.

    Only this delivery fails, after one more attempt with the fallbacks of its variables where it has some.
    The campaign stops once the topology's `sender.rejected_alike_max` different recipients in a row have
    failed with the same code.
    """

    elsewhere: ClassVar[Elsewhere] = "channel"
    name: Literal["fail_message"] = "fail_message"


@dataclass(frozen=True, slots=True)
class FailRecipient:
    """This recipient cannot get this message; `elsewhere`: perhaps by another route."""

    elsewhere: Elsewhere = "channel"
    name: Literal["fail_recipient"] = "fail_recipient"


@dataclass(frozen=True, slots=True)
class Suppress:
    """The recipient wants no messages of this tenant."""

    elsewhere: ClassVar[Elsewhere] = "nowhere"
    name: Literal["suppress"] = "suppress"


Action = (
    Throttle
    | WaitForPair
    | Retry
    | HoldNumber
    | HoldTemplate
    | FailCampaign
    | FailMessage
    | FailRecipient
    | Suppress
)

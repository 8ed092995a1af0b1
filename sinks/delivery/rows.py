"""What goes into the ledger's queries and what comes out of them: frozen, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from schemas.records import Personal
from sinks.actions import Elsewhere
from sinks.delivery.state import DeliveryState

# Why a mark was refused: the number has another holder, or may not be used.
NUMBER_LOST = "the number is not ours any more"
NUMBER_PAUSED = "the number is paused"
LEASE_LOST = "the lease is not ours any more"
OTHER_FIRST = "another delivery to the same person goes first"
NEXT_WITH_FALLBACKS = "the next attempt is with the fallbacks"  # as a part of the reason
OTHER_FIRST_WAIT_S = 60.0  # until it is looked at again: what becomes of the other is mostly known by then


@dataclass(frozen=True, slots=True)
class Key:
    """The primary key of a delivery."""

    campaign_month: date
    campaign_id: str
    contact_id: str


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this process has leased; with what its message is made of. Attempts are those
    before.
    """

    key: Key
    lease_token: UUID
    delivery_id: str
    tenant_id: str
    campaign_version: int
    variables: dict[str, str]
    priority: int
    due_at: datetime
    created_at: datetime
    attempts: int
    phone: str | None
    personal: Personal
    event_id: int = 0  # in the outbox: of its own `leased` event
    with_fallbacks: bool = False  # instead of what contacts typed: the provider has rejected it with that
    channel: str = "whatsapp"
    route: str = ""  # the number from which it is to be sent


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call for a leased delivery, from a number that is held under this fencing token."""

    delivery: Leased
    attempt_id: UUID
    number_id: str
    fencing_token: int
    template: str | None = None

    @property
    def attempts(self) -> int:
        """With this one: while the delivery is leased, nothing else counts one."""
        return self.delivery.attempts + 1


@dataclass(frozen=True, slots=True)
class Marked:
    """The delivery is `calling`, durably: this process, and no other, may call."""


@dataclass(frozen=True, slots=True)
class NotMarked:
    """No call: the delivery went to `state`, or (state None) had been taken from us."""

    state: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class SuppressContact:
    tenant_id: str
    contact_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class StopScope:
    scope: str
    reason: str


@dataclass(frozen=True, slots=True)
class StopTemplate:
    """Stops every campaign of the tenant that uses the template."""

    tenant_id: str
    template: str
    reason: str


@dataclass(frozen=True, slots=True)
class HoldNumber:
    number_id: str
    state: Literal["paused", "stopped", "quarantined"]
    reason: str
    whole_account: bool


@dataclass(frozen=True, slots=True)
class PauseSession:
    """The number's session is lost: it pauses until the session is there again. `attempt_id`: whose call."""

    number_id: str
    attempt_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedAlike:
    """One more recipient whose message was rejected with `code`; at `recipients_max` the campaign stops.

    A message of the campaign that is accepted starts the count anew.
    """

    campaign_id: str
    contact_id: str
    code: str
    reason: str
    recipients_max: int


@dataclass(frozen=True, slots=True)
class PauseNumbers:
    """No call of the number, or of any number of its account, for `pause_s` seconds; in every process."""

    number_id: str
    pause_s: float
    whole_account: bool


@dataclass(frozen=True, slots=True)
class LearnRecipient:
    """The provider's ids of the contact to whom the message went."""

    tenant_id: str
    contact_id: str
    phone: str
    ids: tuple[str, ...]


Effect = (
    SuppressContact
    | StopScope
    | StopTemplate
    | HoldNumber
    | PauseSession
    | RejectedAlike
    | PauseNumbers
    | LearnRecipient
)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a call, as it is to be written down. `due_in_s` None keeps the due time."""

    key: Key
    attempt_id: UUID
    state: DeliveryState
    outcome: Literal["sent", "rejected", "not_sent", "ambiguous"]
    reason: str = ""
    due_in_s: float | None = None
    counted: bool = True  # False gives the attempt back: it was nobody's fault that counts
    code: str | None = None  # the provider's own
    provider_message_id: str | None = None
    effects: tuple[Effect, ...] = ()
    action: str | None = None  # the name of a rejection's action
    with_fallbacks: bool = False  # from the next attempt on
    elsewhere: Elsewhere = "nowhere"  # of one that ends: where it may go instead
    written: bool = True  # False: the provider has seen nothing of a call that was rejected here


@dataclass(frozen=True, slots=True)
class Settled:
    """A leased delivery that is not called: `waiting` hands it back, `failed` says that it never can be."""

    key: Key
    lease_token: UUID
    state: Literal[DeliveryState.WAITING, DeliveryState.FAILED]
    reason: str
    elsewhere: Elsewhere = "nowhere"  # of one that fails: where it may go instead

"""An ambiguous delivery is resolved by an operator who has looked at the provider."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pipeline.errors import OperatorError
from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.delivery.operator.deliveries import QUERIES, get_delivery
from sinks.delivery.state import DeliveryState
from sinks.postgres.audit_log import record
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue

Verdict = Literal["sent", "not-sent"]
_STATES = {"sent": DeliveryState.SENT, "not-sent": DeliveryState.FAILED}
_OUTCOMES = {"sent": "resolved_sent", "not-sent": "resolved_not_sent"}


class NotAmbiguous(OperatorError):
    """Only an ambiguous delivery can be resolved."""


class NotConfirmed(OperatorError):
    """Nothing but a look at the provider makes certain that a message was not sent."""


def resolve(
    connection: Connection,
    actor: str,
    delivery_id: UUID,
    verdict: Verdict,
    reason: str,
    *,
    checked_at_provider: bool = False,
    provider_message_id: str | None = None,
) -> DeliveryChange:
    """'sent' ends it as sent, 'not-sent' as failed: it is not called again unless it is redriven.

    `provider_message_id` lets later status webhooks find the delivery. State, attempt, delivery event and
    audit entry are one transaction.

    Raises `NotConfirmed` for 'not-sent' without `checked_at_provider` (law 2), `NotAmbiguous`,
    `UnknownDelivery`, and `PersonalReason`.
    """
    if verdict == "not-sent" and not checked_at_provider:
        raise NotConfirmed(
            "Look at the provider first whether the message was sent, then confirm it with "
            "--checked-at-provider: a wrong answer can send it twice."
        )
    parameters = {
        "delivery_id": delivery_id,
        "state": str(_STATES[verdict]),
        "outcome": _OUTCOMES[verdict],
        "reason": f"resolved as {verdict} by an operator: {reason}",
        "message_id": provider_message_id if verdict == "sent" else None,
    }
    with connection.transaction():
        changed = fetch(connection, QUERIES["resolve_delivery"], DeliveryChange, parameters)
        if not changed:
            state = get_delivery(connection, delivery_id).state
            raise NotAmbiguous(f"Delivery {delivery_id} is {state}: only an ambiguous one can be resolved.")
        (change,) = changed
        enqueue(connection, EVENTS_ROLE, *event_of(change))
        detail = {"verdict": verdict, "attempt": change.attempt_id, "reason": reason}
        record(connection, actor, "delivery.resolve", change.delivery_id, **detail)
    return change

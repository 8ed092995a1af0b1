"""A failure that a webhook reports has the consequence that it has in the answer to a call."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import assert_never

from sinks.actions import (
    FailCampaign,
    FailMessage,
    FailRecipient,
    HoldNumber,
    HoldTemplate,
    Retry,
    Suppress,
    Throttle,
    WaitForPair,
)
from sinks.delivery.statements import statement
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.providers import provider_named
from sinks.webhook import Notice

LOG = logging.getLogger(__name__)

HTTP_REFUSED = 400  # the status that an answer with such an error has


def apply(
    connection: Connection, provider: str, codes: Iterable[str], reason: str, number_id: str, campaign_id: str
) -> None:
    """Holds the number or its account, or stops the campaign. Commits nothing.

    `campaign_id` is empty for an error that is of no delivery. What concerns one recipient is the state of
    the delivery, and an opt-out is applied with it. A limit that a webhook reports is past: it is counted.
    """
    for code in codes:
        action = provider_named(provider).action_of(code, HTTP_REFUSED)
        if action is None:
            continue
        metrics.WEBHOOK_ACTIONS.labels(action.name).inc()
        match action:
            case HoldNumber(state, scope):
                held = {"number_id": number_id, "state": state, "reason": reason}
                connection.execute(statement("hold_account" if scope == "account" else "hold_number"), held)
            case HoldTemplate() | FailCampaign():
                if campaign_id:
                    stop = {"scopes": [f"campaign:{campaign_id}"], "reasons": [reason]}
                    connection.execute(statement("stop_scopes"), stop)
            case FailMessage() | FailRecipient() | Retry() | Suppress() | Throttle() | WaitForPair():
                pass
            case _:
                assert_never(action)


def heed(connection: Connection, provider: str, notice: Notice) -> None:
    """Counts and logs a notice, and applies its errors to the number. Commits nothing."""
    metrics.WEBHOOK_NOTICES.labels(notice.kind, notice.event or "none").inc()
    codes = ", ".join(notice.codes) or "none"
    LOG.warning(
        "webhook of %s: %s %s, number %s, codes %s; see the provider's console",
        provider,
        notice.kind,
        notice.event,
        notice.number_id or "none",
        codes,
    )
    reason = f"reported by the provider: {codes}"
    apply(connection, provider, notice.codes, reason, notice.number_id, "")

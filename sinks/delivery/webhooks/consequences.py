"""A failure that a webhook reports has the consequence that it has in the answer to a call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, assert_never

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
from sinks.delivery.webhooks.failures import THROTTLED_S, Limits
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.providers import provider_named

QUERIES = load_queries(Path(__file__).with_name("consequences.sql"))

HTTP_REFUSED = 400  # the status that an answer with such an error has


class Failure(NamedTuple):
    """`campaign_id` and `contact_id` are empty for an error that is of no delivery."""

    provider: str
    codes: tuple[str, ...]
    reason: str
    at_ms: int
    number_id: str
    campaign_id: str = ""
    contact_id: str = ""
    is_final: bool = True  # False: the delivery waits for another attempt


class _Released(NamedTuple):
    released: bool


def apply(connection: Connection, failure: Failure, limits: Limits) -> None:
    """Holds or pauses the number or its account, or stops campaigns. Commits nothing.

    What an operator has released since the failure's time is neither held nor stopped again.

    What concerns one recipient is the state of the delivery (`failures`), and an opt-out is applied with it.
    """
    for code in failure.codes:
        action = provider_named(failure.provider).action_of(code, HTTP_REFUSED)
        if action is None:
            continue
        metrics.WEBHOOK_ACTIONS.labels(action.name).inc()
        match action:
            case HoldNumber(state, scope):
                held = {
                    "number_id": failure.number_id,
                    "whole_account": scope == "account",
                    "state": state,
                    "reason": failure.reason,
                    "at_ms": failure.at_ms,
                }
                connection.execute(QUERIES["hold_number_reported"], held)
            case Throttle(scope):
                pause = {
                    "number_id": failure.number_id,
                    "whole_account": scope != "number",
                    "until_ms": failure.at_ms + int(THROTTLED_S * 1000),
                }
                connection.execute(QUERIES["pause_number_until"], pause)
            case HoldTemplate() | FailCampaign() | FailMessage():
                if failure.campaign_id and (failure.is_final or not isinstance(action, FailMessage)):
                    _stop_campaigns(connection, failure, action, code, limits)
            case FailRecipient() | Retry() | Suppress() | WaitForPair():
                pass
            case _:
                assert_never(action)


def _stop_campaigns(
    connection: Connection,
    failure: Failure,
    action: HoldTemplate | FailCampaign | FailMessage,
    code: str,
    limits: Limits,
) -> None:
    scope = f"campaign:{failure.campaign_id}"
    given: Mapping[str, object] = {
        "campaign_id": failure.campaign_id,
        "reason": failure.reason,
        "at_ms": failure.at_ms,
    }
    (found,) = fetch(connection, QUERIES["is_released"], _Released, {"scope": scope, "at_ms": failure.at_ms})
    if found.released and not isinstance(action, HoldTemplate):
        return
    match action:
        case HoldTemplate():
            connection.execute(QUERIES["stop_template_of_campaign"], given)
        case FailCampaign():
            stop = {"scopes": [scope], "reasons": [failure.reason]}
            connection.execute(statement("stop_scopes"), stop)
        case FailMessage():
            most = limits.rejected_alike_max
            reason = f"{most} recipients in a row were rejected alike, the last with: {failure.reason}"
            counted = {"contact_id": failure.contact_id, "code": code, "recipients_max": most}
            connection.execute(statement("count_rejection"), {**given, **counted})
            connection.execute(statement("stop_rejected_campaign"), {**given, **counted, "reason": reason})

"""What follows from the outcome of a call: the delivery's next state, when it is due, what else has to
stop. Pure.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Literal, assert_never

from sinks import actions
from sinks.delivery.rows import (
    NEXT_WITH_FALLBACKS,
    Attempt,
    HoldNumber,
    LearnRecipient,
    PauseSession,
    RejectedAlike,
    Result,
    StopScope,
    StopTemplate,
    SuppressContact,
)
from sinks.delivery.state import AMBIGUOUS, DEAD, FAILED, SENT, SUPPRESSED, WAITING
from sinks.outcomes import Ambiguous, NotCalled, NotWritten, Outcome, Rejected, Sent


@dataclass(frozen=True)
class RetryPolicy:
    """The topology's `sender.retry_*`, `attempts_max` and `rejected_alike_max`."""

    attempts_max: int
    base_s: float
    max_s: float
    jitter_ratio: float
    rejected_alike_max: int = 10  # recipients in a row, with one code: then their campaign stops

    def backoff_s(self, attempts: int, rng: random.Random) -> float:
        """Seconds to wait after `attempts` calls: exponential, bounded, with jitter on both sides."""
        plain = min(self.base_s * 2.0 ** min(attempts - 1, 32), self.max_s)
        return plain * (1 + rng.uniform(-self.jitter_ratio, self.jitter_ratio))


def consequence(
    attempt: Attempt,
    outcome: Outcome,
    policy: RetryPolicy,
    rng: random.Random,
    *,
    replaceable: bool = False,
) -> Result:
    """The one place where an outcome becomes a state.

    `replaceable`: the message had texts of the contact, and reads otherwise with the fallbacks for them.
    """
    key, attempt_id = attempt.delivery.key, attempt.attempt_id
    match outcome:
        case Sent(message_id, recipients):
            learned = _learned(attempt, recipients)
            return Result(key, attempt_id, SENT, "sent", provider_message_id=message_id, effects=learned)
        case Ambiguous(detail, code, hold):
            effects = () if hold is None else (_hold_of(attempt, hold, detail),)
            return Result(key, attempt_id, AMBIGUOUS, "ambiguous", detail, code=code, effects=effects)
        case NotCalled(detail):
            return Result(key, attempt_id, WAITING, "not_sent", detail, counted=False)
        case NotWritten(detail):
            return _again(attempt, "not_sent", detail, policy.attempts_max, policy, rng)
        case Rejected():
            return _rejected(attempt, outcome, policy, rng, replaceable)
    assert_never(outcome)


def _hold_of(attempt: Attempt, action: actions.HoldNumber, reason: str) -> HoldNumber | PauseSession:
    if action.until_connected:
        return PauseSession(attempt.number_id, attempt.attempt_id, reason)
    return HoldNumber(attempt.number_id, action.state, reason, whole_account=action.scope == "account")


def _learned(attempt: Attempt, recipients: tuple[str, ...]) -> tuple[LearnRecipient, ...]:
    delivery = attempt.delivery
    if not recipients or not delivery.phone:
        return ()
    return (LearnRecipient(delivery.tenant_id, delivery.key.contact_id, delivery.phone, recipients),)


def _rejected(
    attempt: Attempt, refusal: Rejected, policy: RetryPolicy, rng: random.Random, replaceable: bool
) -> Result:
    return dataclasses.replace(
        _acted(attempt, refusal, policy, rng, replaceable),
        code=refusal.code or None,
        action=refusal.action.name,
        elsewhere=refusal.action.elsewhere,
        written=refusal.written,
    )


def _acted(
    attempt: Attempt, refusal: Rejected, policy: RetryPolicy, rng: random.Random, replaceable: bool
) -> Result:
    key, attempt_id, reason = attempt.delivery.key, attempt.attempt_id, refusal.detail
    tenant_id = attempt.delivery.tenant_id
    match refusal.action:
        case actions.Throttle():
            wait_s = max(refusal.retry_after_s, policy.backoff_s(1, rng))
            return Result(key, attempt_id, WAITING, "rejected", reason, due_in_s=wait_s, counted=False)
        case actions.WaitForPair(factor, attempts_max):
            pair_wait_s = float(factor ** (min(attempt.attempts, attempts_max) - 1))
            pair_wait_s = max(pair_wait_s, refusal.retry_after_s)
            return _again(attempt, "rejected", reason, attempts_max, policy, rng, pair_wait_s)
        case actions.Retry(attempts_max, after_s):
            attempts_max = attempts_max or policy.attempts_max
            after_s = max(after_s, refusal.retry_after_s)
            return _again(attempt, "rejected", reason, attempts_max, policy, rng, after_s)
        case actions.HoldNumber():
            hold = _hold_of(attempt, refusal.action, reason)
            return Result(key, attempt_id, WAITING, "rejected", reason, counted=False, effects=(hold,))
        case actions.HoldTemplate():
            stop = (
                StopScope(f"campaign:{key.campaign_id}", reason)
                if attempt.template is None
                else StopTemplate(tenant_id, attempt.template, reason)
            )
            return Result(key, attempt_id, WAITING, "rejected", reason, counted=False, effects=(stop,))
        case actions.FailCampaign():
            stop = StopScope(f"campaign:{key.campaign_id}", reason)
            return Result(key, attempt_id, FAILED, "rejected", reason, effects=(stop,))
        case actions.FailMessage() if replaceable:
            # Only what fails with its fallbacks too says something about the campaign. At once: where every
            # message would be rejected, the campaign stops before many others have lost what they typed.
            reason, due_in_s = f"{reason}; {NEXT_WITH_FALLBACKS}", refusal.retry_after_s or None
            return Result(
                key, attempt_id, WAITING, "rejected", reason, due_in_s=due_in_s, with_fallbacks=True
            )
        case actions.FailMessage():
            alike = RejectedAlike(
                key.campaign_id, key.contact_id, refusal.code, reason, policy.rejected_alike_max
            )
            return Result(key, attempt_id, FAILED, "rejected", reason, effects=(alike,))
        case actions.FailRecipient():
            return Result(key, attempt_id, FAILED, "rejected", reason)
        case actions.Suppress():
            suppress = SuppressContact(tenant_id, key.contact_id, reason)
            return Result(key, attempt_id, SUPPRESSED, "rejected", reason, effects=(suppress,))
    assert_never(refusal.action)


def _again(
    attempt: Attempt,
    outcome: Literal["rejected", "not_sent"],
    reason: str,
    attempts_max: int,
    policy: RetryPolicy,
    rng: random.Random,
    after_s: float = 0.0,
) -> Result:
    key, attempt_id = attempt.delivery.key, attempt.attempt_id
    if attempt.attempts >= attempts_max:
        reason = f"{attempt.attempts} attempts: {reason}"
        return Result(key, attempt_id, DEAD, outcome, reason, elsewhere="channel")
    due_in_s = after_s or policy.backoff_s(attempt.attempts, rng)
    return Result(key, attempt_id, WAITING, outcome, reason, due_in_s=due_in_s)

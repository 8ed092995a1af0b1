"""What the end of a call means for its message. Pure."""

from __future__ import annotations

import random

from pipeline.topology.file import Webhooks
from sinks.outbound.caller import Answered, Unanswered
from sinks.outbound.queue import Claimed, Delivered, Failed

GONE_STATUS = 410


def result_of(
    message: Claimed, url: str, answer: Answered | Unanswered, limits: Webhooks, rng: random.Random
) -> Delivered | Failed:
    """2xx is success. 410 ends the endpoint; all else is retried after `retry_after_s`, redirects too."""
    if isinstance(answer, Answered) and 200 <= answer.status < 300:
        return Delivered(message)
    if isinstance(answer, Answered):
        error = f"answered {answer.status}"
        if answer.status == GONE_STATUS:
            return Failed(message, error, None, gone_url=url)
    else:
        error = answer.error
    return failed(message, error, limits, rng)


def failed(message: Claimed, error: str, limits: Webhooks, rng: random.Random) -> Failed:
    """With the wait until its next attempt, if it has one."""
    if message.attempts >= len(limits.retry_after_s):
        return Failed(message, error, None)
    wait_s = limits.retry_after_s[message.attempts]
    return Failed(message, error, wait_s * (1 + limits.retry_jitter_ratio * rng.random()))

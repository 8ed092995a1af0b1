"""The hashes of the keys in the webhook addresses of session numbers, in memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.records import WebhookKey


class WebhookKeys:
    """Written by the follower's thread and read by the event loop's: each change is one assignment."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._by_number: dict[str, WebhookKey] = {}

    def on_event(self, key: bytes, webhook_key: WebhookKey | None) -> None:
        """Apply a version; an older one is ignored, so that a late record never brings back a former key."""
        if webhook_key is None:
            self._by_number.pop(key.decode(errors="replace"), None)
            return
        known = self._by_number.get(webhook_key.number_id)
        if known is None or webhook_key.version >= known.version:
            self._by_number[webhook_key.number_id] = webhook_key

    def hashes(self, provider: str, number_id: str) -> tuple[str, ...]:
        """Of the keys that are in force; empty for a number that is not known, or is of another provider."""
        known = self._by_number.get(number_id)
        if known is None or known.provider != provider:
            return ()
        if known.former_hash and known.former_until > self._now_s() * 1000:
            return known.key_hash, known.former_hash
        return (known.key_hash,)

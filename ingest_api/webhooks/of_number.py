"""Accepts the webhooks of providers that sign nothing: the address names a number and has its key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ingest_api.http import body
from ingest_api.http.problems import (
    HANDSHAKE_REJECTED,
    INVALID_SIGNATURE,
    NOT_READY,
    WRONG_NUMBER,
    rejection,
)
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.webhooks.metrics import REFUSED
from ingest_api.webhooks.receive import Accepted, parameters_of
from sinks.webhook import NumberWebhookSource, Secrets, WebhookRequest

log = logging.getLogger(__name__)

NOT_READY_RETRY_S = 1
NO_KEY = "0" * 64  # no key has this hash: a number without a key takes as long as one with another key


class ReceiveNumberWebhook:
    """`POST` answers 200 once the body is durable. A key proves its number: no body is about another one.

    A number that is not known is answered as a wrong key is.
    """

    def __init__(
        self,
        source: NumberWebhookSource,
        hashes: Callable[[str, str], Sequence[str]],
        caught_up: Callable[[], bool],
        accepted: Accepted,
        bytes_max: int,
    ) -> None:
        """`hashes`: of the keys in force, by provider and number."""
        self._source = source
        self._hashes = hashes
        self._caught_up = caught_up
        self._accepted = accepted
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise rejection(HANDSHAKE_REJECTED, "this provider has no handshake")
        if not self._caught_up():
            raise rejection(NOT_READY, "the keys are still being read", retry_after_s=NOT_READY_RETRY_S)
        number_id: str = scope["path_params"]["number_id"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        query = parameters_of(scope["query_string"]) or {}
        if not self._is_genuine(number_id, WebhookRequest(headers, query, b"")):
            REFUSED.labels(self._source.provider, "key").inc()
            raise rejection(INVALID_SIGNATURE, "the key is not that of this number")
        content = await body.read_body(receive, headers, self._bytes_max)
        stored = self._source.stored(WebhookRequest(headers, query, content))
        if any(stated != number_id for stated in self._source.stated_numbers(stored)):
            REFUSED.labels(self._source.provider, "number").inc()
            log.warning(
                "rejected a webhook of %s at the address of number %s: its body is about another number",
                self._source.provider,
                number_id,
            )
            raise rejection(WRONG_NUMBER, "this address is of one number; the body is about another one")
        return await self._accepted(stored, number_id)

    def _is_genuine(self, number_id: str, request: WebhookRequest) -> bool:
        hashes = self._hashes(self._source.provider, number_id) or (NO_KEY,)
        return any(self._source.is_genuine(request, Secrets(one.encode(), "")) for one in hashes)

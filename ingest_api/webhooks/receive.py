"""Accepts provider webhooks: checks the signature and publishes the raw body; consumers parse it later."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ingest_api.http import body
from ingest_api.http.problems import HANDSHAKE_REJECTED, INVALID_SIGNATURE, rejection
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Publisher
from pipeline.runtime.clock import now_ms
from pipeline.topology.model import Topic
from schemas.codec import Codec
from schemas.records import ProviderWebhook, WebhookBody

PROVIDER = "whatsapp"
ACCOUNT_UNKNOWN = "unknown"
ACCOUNT_CHARS_MAX = 64
CHALLENGE_CHARS_MAX = 256
PARAMETERS_MAX = 16

_SIGNATURE = b"sha256="
_RECEIVED = Reply(200, b'{"received":true}')


class ReceiveWebhook:
    """`GET` is Meta's handshake. `POST` answers 200 only after the body, as it came, is durable."""

    def __init__(
        self,
        topic: Topic,
        codec: Codec[ProviderWebhook],
        publisher: Publisher,
        secret: bytes,
        verify_token: str,
        bytes_max: int,
        now: Callable[[], int] = now_ms,
    ) -> None:
        self._topic = topic.name
        self._codec = codec
        self._publisher = publisher
        self._secret = secret
        self._verify_token = verify_token.encode()
        self._bytes_max = bytes_max
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            return self._handshake(scope["query_string"])
        headers: dict[bytes, bytes] = dict(scope["headers"])
        content = await body.read_body(receive, headers, self._bytes_max)
        signature = _SIGNATURE + hmac.new(self._secret, content, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(signature, headers.get(b"x-hub-signature-256", b"").strip().lower()):
            raise rejection(INVALID_SIGNATURE, "X-Hub-Signature-256 is not that of this body")
        account = account_of(content)
        webhook = ProviderWebhook(PROVIDER, account, self._now(), WebhookBody(content))
        await self._publisher.publish(self._topic, account.encode(), self._codec.encode(webhook))
        return _RECEIVED

    def _handshake(self, query: bytes) -> Reply:
        try:
            given = dict(parse_qsl(query.decode("latin-1"), max_num_fields=PARAMETERS_MAX))
        except ValueError:
            raise rejection(HANDSHAKE_REJECTED, "too many parameters") from None
        token = given.get("hub.verify_token", "").encode("utf-8", "replace")
        challenge = given.get("hub.challenge", "")
        agreed = hmac.compare_digest(token, self._verify_token)
        if given.get("hub.mode") != "subscribe" or not agreed or len(challenge) > CHALLENGE_CHARS_MAX:
            raise rejection(
                HANDSHAKE_REJECTED, "hub.mode, hub.verify_token or hub.challenge is not as agreed"
            )
        return Reply(200, challenge.encode("utf-8", "replace"), b"text/plain; charset=utf-8")


def account_of(content: bytes) -> str:
    """Return the sender number or else the business account of the webhook; `unknown` if it has neither.

    The account only selects the partition, so a signed body of an unexpected shape is accepted too.
    """
    try:
        entry = msgspec.json.decode(content)["entry"][0]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ACCOUNT_UNKNOWN
    for account in (_number_of(entry), _at(entry, "id")):
        if isinstance(account, str) and 0 < len(account) <= ACCOUNT_CHARS_MAX and account.isalnum():
            return account
    return ACCOUNT_UNKNOWN


def _number_of(entry: Any) -> Any:
    return _at(_at(_at(_at(_at(entry, "changes"), 0), "value"), "metadata"), "phone_number_id")


def _at(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None

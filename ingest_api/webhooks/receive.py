"""Accepts provider webhooks: checks the signature and publishes the body; consumers parse it later."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from ingest_api.http import body
from ingest_api.http.problems import HANDSHAKE_REJECTED, INVALID_SIGNATURE, rejection
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Publisher
from pipeline.runtime.clock import now_ms
from pipeline.topology.model import Topic
from schemas.codec import Codec
from schemas.records import ProviderWebhook, WebhookBody
from sinks.webhook import Page, Secrets, WebhookRequest, WebhookSource

ACCOUNT_UNKNOWN = "unknown"
PARAMETERS_MAX = 16


class Accepted:
    """Publishes a verified body; the answer is that of the provider once it is durable."""

    def __init__(
        self,
        source: WebhookSource,
        topic: Topic,
        codec: Codec[ProviderWebhook],
        publisher: Publisher,
        now: Callable[[], int] = now_ms,
    ) -> None:
        self._provider = source.provider
        self._topic = topic.name
        self._codec = codec
        self._publisher = publisher
        self._received = Reply(200, source.acknowledgement.body, source.acknowledgement.content_type)
        self._now = now

    async def __call__(self, stored: bytes, account: str) -> Reply:
        webhook = ProviderWebhook(self._provider, account, self._now(), WebhookBody(stored))
        await self._publisher.publish(self._topic, account.encode(), self._codec.encode(webhook))
        return self._received


class ReceiveWebhook:
    """`GET` is the provider's handshake. `POST` answers 200 once the body is durable."""

    def __init__(
        self,
        source: WebhookSource,
        secrets: Secrets,
        accepted: Accepted,
        bytes_max: int,
        edge_url: str = "",
    ) -> None:
        self._source = source
        self._secrets = secrets
        self._accepted = accepted
        self._bytes_max = bytes_max
        self._edge_url = edge_url.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            return self._handshake(scope["query_string"])
        headers: dict[bytes, bytes] = dict(scope["headers"])
        content = await body.read_body(receive, headers, self._bytes_max)
        query = parameters_of(scope["query_string"]) or {}
        request = WebhookRequest(headers, query, content, self._url(scope))
        if not self._source.is_genuine(request, self._secrets):
            raise rejection(
                INVALID_SIGNATURE, "the signature or key is not that of the provider for this body"
            )
        stored = self._source.stored(request)
        return await self._accepted(stored, self._source.account_of(stored) or ACCOUNT_UNKNOWN)

    def _handshake(self, query: bytes) -> Reply:
        given = parameters_of(query)
        if given is None:
            raise rejection(HANDSHAKE_REJECTED, "too many parameters")
        answer = self._source.handshake(given, self._secrets)
        if answer is None:
            raise rejection(HANDSHAKE_REJECTED, "the parameters of the handshake are not as agreed")
        kind, text = (b"text/html", answer.html) if isinstance(answer, Page) else (b"text/plain", answer)
        return Reply(200, text.encode("utf-8", "replace"), kind + b"; charset=utf-8")

    def _url(self, scope: Scope) -> str:
        """As the provider was given it: behind a proxy the request itself does not have its host."""
        query = scope["query_string"].decode("latin-1")
        return f"{self._edge_url}{scope['path']}{'?' if query else ''}{query}"


def parameters_of(query: bytes) -> dict[str, str] | None:
    """None for more than `PARAMETERS_MAX`."""
    try:
        return dict(parse_qsl(query.decode("latin-1"), max_num_fields=PARAMETERS_MAX))
    except ValueError:
        return None

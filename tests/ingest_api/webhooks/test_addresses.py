"""Webhooks that are verified with their address: as the provider was given it, not as a proxy has it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from ingest_api.http.problems import Rejection
from ingest_api.http.reply import Reply
from ingest_api.webhooks.receive import Accepted, ReceiveWebhook
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from schemas.codec import codec
from schemas.records import ProviderWebhook
from sinks.messaging.email.unsubscribe import url_of
from sinks.messaging.email.webhook import SOURCE as SMTP
from sinks.messaging.sms.webhook import SOURCE as TWILIO
from sinks.messaging.sms.webhook import signature_of
from sinks.webhook import Secrets, WebhookSource

EDGE = "https://edge.example.com"
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
FORM = {"AccountSid": "AC1", "MessageSid": "SM1", "MessageStatus": "delivered", "From": "+1", "To": "+2"}


class Published:
    def __init__(self) -> None:
        self.webhooks: list[ProviderWebhook] = []

    async def publish(self, _topic: str, _key: bytes, value: bytes) -> None:
        self.webhooks.append(codec("provider_webhook").decode(value))


def ask(
    source: WebhookSource, published: Any, method: str, url: str, body: bytes = b"", **headers: str
) -> Reply:
    """The request reaches the edge with the host of a proxy."""
    topic = load(Settings.from_env({}).topology_file, "").topic("provider_webhooks")
    handler = ReceiveWebhook(
        source,
        Secrets(b"secret", ""),
        Accepted(source, topic, codec("provider_webhook"), published),
        10_000,
        EDGE + "/",
    )
    parts = urlsplit(url)
    named = {"host": "10.0.0.7", "content-length": str(len(body)), **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return asyncio.run(handler(scope, receive))


def test_a_status_callback_is_verified_with_the_public_address_and_keeps_its_attempt() -> None:
    published = Published()
    url = f"{EDGE}/webhooks/twilio?attempt={ATTEMPT}"
    body = urlencode(FORM).encode()
    signature = signature_of(url, list(FORM.items()), b"secret").decode()
    reply = ask(TWILIO, published, "POST", url, body, x_twilio_signature=signature)
    assert (reply.status, reply.media_type, reply.body) == (200, b"text/xml", b"<Response/>")
    (webhook,) = published.webhooks
    (status,) = TWILIO.parse(webhook.personal.body, 1000).statuses
    assert (webhook.account, status.attempt_id, status.status) == ("AC1", ATTEMPT, "delivered")

    elsewhere = url.replace(ATTEMPT, ATTEMPT.replace("1", "2"))
    with pytest.raises(Rejection):
        ask(TWILIO, published, "POST", elsewhere, body, x_twilio_signature=signature)
    assert len(published.webhooks) == 1


def test_who_follows_the_link_of_a_mail_gets_a_page_and_who_clicks_there_opts_out() -> None:
    published = Published()
    url = url_of(EDGE, b"secret", "news@acme.example", ATTEMPT)
    page = ask(SMTP, published, "GET", url)
    assert page.media_type == b"text/html; charset=utf-8"
    assert b'<form method="post">' in page.body
    assert published.webhooks == []
    assert ask(SMTP, published, "POST", url, b"List-Unsubscribe=One-Click").status == 200
    (webhook,) = published.webhooks
    (event,) = SMTP.parse(webhook.personal.body, 1000).inbound
    assert (event.choice, event.reply_to) == ("stop", f"{ATTEMPT}@acme.example")
    for method in ("GET", "POST"):
        with pytest.raises(Rejection):
            ask(SMTP, published, method, url[:-1] + ("0" if url[-1] != "0" else "1"))

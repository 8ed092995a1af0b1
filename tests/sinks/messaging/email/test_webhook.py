"""Unsubscribing from an e-mail: in one click, on a page, and by nobody who does not have the mail."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from sinks.messaging.email.unsubscribe import is_usable, url_of
from sinks.messaging.email.webhook import SOURCE
from sinks.webhook import NotAWebhook, Page, Secrets, Status, WebhookRequest

ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
SENDER = "news@acme.example"
SECRETS = Secrets(b"secret", "")
QUERY = dict(parse_qsl(urlsplit(url_of("https://e", b"secret", SENDER, ATTEMPT)).query))


def test_one_click_is_the_opt_out_of_the_messages_recipient() -> None:
    request = WebhookRequest({}, QUERY, b"List-Unsubscribe=One-Click")
    assert SOURCE.is_genuine(request, SECRETS)
    stored = SOURCE.stored(request)
    assert SOURCE.account_of(stored) == SENDER
    webhook = SOURCE.parse(stored, 1000)
    message_id = f"{ATTEMPT}@acme.example"
    assert webhook.statuses == (Status(message_id, "read", 1000, ATTEMPT),)
    (event,) = webhook.inbound
    assert (event.choice, event.reply_to, event.number_id, event.ids) == ("stop", message_id, SENDER, ())


def test_a_link_that_is_only_followed_changes_nothing_and_shows_a_button() -> None:
    page = SOURCE.handshake(QUERY, SECRETS)
    assert isinstance(page, Page)
    assert '<form method="post">' in page.html


@pytest.mark.parametrize(
    "change", [{"s": ""}, {"s": "0" * 32}, {"n": "other@acme.example"}, {"a": ATTEMPT.replace("1", "2")}]
)
def test_an_address_that_was_changed_is_not_genuine(change: dict[str, str]) -> None:
    query = QUERY | change
    assert not SOURCE.is_genuine(WebhookRequest({}, query, b""), SECRETS)
    assert SOURCE.handshake(query, SECRETS) is None
    assert not SOURCE.is_genuine(WebhookRequest({}, QUERY, b""), Secrets(b"", ""))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"sender":"x","attempt_id":"%s"}' % ATTEMPT.encode()])
def test_what_is_no_opt_out(body: bytes) -> None:
    with pytest.raises(NotAWebhook):
        SOURCE.parse(body, 1000)


def test_the_address_must_be_https() -> None:
    assert is_usable("https://edge.example.com")
    assert is_usable("http://127.0.0.1:8600")
    assert not is_usable("http://edge.example.com")
    assert not is_usable("")

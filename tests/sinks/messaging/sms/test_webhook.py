"""Twilio's webhooks: which are genuine, and what they report."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from sinks.messaging.sms.webhook import SOURCE, parse, signature_of
from sinks.webhook import Inbound, NotAWebhook, Secrets, Status, StatusError, WebhookRequest

KEY = b"12345"
SECRETS = Secrets(KEY, "")
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
URL = "https://edge.example.com/webhooks/twilio"
ACCOUNT = "AC" + "0a" * 16
STATUS = {
    "AccountSid": ACCOUNT,
    "MessageSid": "SM1",
    "MessageStatus": "delivered",
    "From": "+5511999990000",
    "To": "+5547989211984",
}
INBOUND = {
    "AccountSid": ACCOUNT,
    "MessageSid": "SM2",
    "SmsStatus": "received",
    "From": "+5547989211984",
    "To": "+5511999990000",
    "Body": " Parar ",
}


def request(
    fields: dict[str, str], url: str = URL, signed_url: str = URL, key: bytes = KEY
) -> WebhookRequest:
    signature = signature_of(signed_url, list(fields.items()), key)
    query = dict([url.partition("?")[2].split("=")]) if "?" in url else {}
    return WebhookRequest({b"x-twilio-signature": signature}, query, urlencode(fields).encode(), url)


def test_the_example_of_the_documentation() -> None:
    """Twilio's own example of a signature, for a call."""
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signed = signature_of("https://mycompany.com/myapp.php?foo=1&bar=2", list(fields.items()), KEY)
    assert signed == b"RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_a_body_is_genuine_at_its_own_address_only() -> None:
    assert SOURCE.is_genuine(request(STATUS), SECRETS)
    assert SOURCE.is_genuine(request(STATUS, signed_url=URL.replace(".com", ".com:443")), SECRETS)
    with_port = URL.replace(".com", ".com:8443")
    assert SOURCE.is_genuine(request(STATUS, url=with_port, signed_url=URL), SECRETS)
    assert not SOURCE.is_genuine(request(STATUS, url=URL + "?attempt=1"), SECRETS)
    assert not SOURCE.is_genuine(request(STATUS, key=b"other"), SECRETS)
    assert not SOURCE.is_genuine(request(STATUS, key=b""), Secrets(b"", ""))
    genuine = request(STATUS)
    changed = WebhookRequest(genuine.headers, {}, genuine.body + b"&Body=STOP", genuine.url)
    assert not SOURCE.is_genuine(changed, SECRETS)
    assert not SOURCE.is_genuine(WebhookRequest({}, {}, b"a=1&" * 300, URL), SECRETS)


@pytest.mark.parametrize(
    ("told", "status", "error"),
    [
        ("sent", "sent", None),
        ("delivered", "delivered", None),
        ("undelivered", "failed", "30005"),
        ("failed", "failed", "30007"),
    ],
)
def test_a_status_has_the_attempt_of_its_address(told: str, status: str, error: str | None) -> None:
    given = STATUS | {"MessageStatus": told} | ({"ErrorCode": error} if error else {})
    stored = SOURCE.stored(request(given, url=f"{URL}?attempt={ATTEMPT}"))
    webhook = parse(stored, 1000)
    errors = () if error is None else (StatusError(error),)
    assert webhook.statuses == (Status("SM1", status, 1000, ATTEMPT, errors, ("5547989211984",)),)
    assert webhook.accounts == ((ACCOUNT, "5511999990000", "5511999990000"),)
    assert SOURCE.account_of(stored) == ACCOUNT


@pytest.mark.parametrize("told", ["queued", "accepted", "sending", "new-one"])
def test_a_status_on_the_way_is_only_counted(told: str) -> None:
    webhook = parse(urlencode(STATUS | {"MessageStatus": told}).encode(), 1000)
    assert (webhook.statuses, len(webhook.notices)) == ((), 1)


@pytest.mark.parametrize(
    ("more", "choice"), [({}, None), ({"OptOutType": "STOP"}, "stop"), ({"OptOutType": "START"}, "resume")]
)
def test_a_person_writes(more: dict[str, str], choice: str | None) -> None:
    (event,) = parse(urlencode(INBOUND | more).encode(), 1000).inbound
    assert event == Inbound(
        ("5547989211984",),
        "5511999990000",
        "sms",
        1000,
        event_id="SM2",
        texts=("Parar",),
        choice=choice,  # type: ignore[arg-type]
    )


def test_a_reply_to_a_messaging_service_is_for_the_service() -> None:
    (event,) = parse(urlencode(INBOUND | {"MessagingServiceSid": "MG1"}).encode(), 1000).inbound
    assert event.number_id == "MG1"


def test_what_is_no_form_of_a_message() -> None:
    for body in (b"", b"{}", b"A=1", b"MessageSid=", b"a=1&" * 300):
        with pytest.raises(NotAWebhook):
            parse(body, 1000)
    assert parse(urlencode(INBOUND | {"From": "Acme"}).encode(), 1000).odd == 1
    assert SOURCE.is_opt_out("21610")

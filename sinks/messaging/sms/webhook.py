"""Webhooks of Twilio: forms, signed over the address and all fields; one message or one status a body.

The address of a status callback has the attempt id, which `stored` adds to the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from sinks.outcomes import message_id_of, plain
from sinks.webhook import (
    AccountOfNumber,
    Acknowledgement,
    Inbound,
    NotAWebhook,
    Notice,
    Secrets,
    Status,
    StatusError,
    Webhook,
    WebhookRequest,
)

WEBHOOK_PATH = "/webhooks/twilio"
ATTEMPT_PARAMETER = "attempt"
ATTEMPT_FIELD = "QuizstreamAttempt"
SIGNATURE = b"x-twilio-signature"
FIELDS_MAX = 200
TEXT_CHARS_MAX = 4_096
SID_CHARS_MAX = 64
OPTED_OUT = "21610"
# Nothing is answered to the person: TwiML without a verb. A body of another type is logged there as an error.
TWIML = Acknowledgement(b"text/xml", b"<Response/>")

_STATUSES = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    **dict.fromkeys(("failed", "undelivered", "canceled"), "failed"),
}
_UNDERWAY = frozenset({"accepted", "queued", "scheduled", "sending"})
_CHOICES = {"STOP": "stop", "START": "resume"}
_PORTS = {"https": 443, "http": 80}
_CODE = re.compile(r"[0-9]{1,9}", re.ASCII)


class TwilioWebhooks:
    """The key of the signatures is the account's auth token."""

    provider = "twilio"
    signing_variable = "TWILIO_AUTH_TOKEN"
    verify_token_variable = None
    acknowledgement = TWIML

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> str | None:
        return None

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        """The address with and without its port: it is signed as it was registered, or without."""
        given = request.headers.get(SIGNATURE, b"")
        try:
            fields = _pairs(request.body)
        except NotAWebhook:
            return False
        found = [
            hmac.compare_digest(given, signature_of(url, fields, secrets.signing))
            for url in _spellings(request.url)
        ]
        return bool(secrets.signing) and any(found)

    def stored(self, request: WebhookRequest) -> bytes:
        attempt_id = _uuid(request.query.get(ATTEMPT_PARAMETER, ""))
        if attempt_id is None:
            return request.body
        return request.body + f"&{ATTEMPT_FIELD}={attempt_id}".encode()

    def account_of(self, body: bytes) -> str | None:
        try:
            account = _fields(body).get("AccountSid", "")
        except NotAWebhook:
            return None
        return account if 0 < len(account) <= SID_CHARS_MAX and account.isalnum() else None

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        return parse(body, received_at_ms)

    def is_opt_out(self, code: str) -> bool:
        return code == OPTED_OUT


SOURCE = TwilioWebhooks()


def signature_of(url: str, fields: list[tuple[str, str]], key: bytes) -> bytes:
    """Base64 of the HMAC-SHA1 over the address and each field's name and values, sorted, each once."""
    signed = url + "".join(name + value for name, value in sorted(set(fields)))
    return b64encode(hmac.new(key, signed.encode("utf-8", "replace"), hashlib.sha1).digest())


def parse(body: bytes, received_at_ms: int) -> Webhook:
    """Raises `NotAWebhook` for what is not a form with the id of a message, and for nothing else."""
    fields = _fields(body)
    message_id = (fields.get("MessageSid") or fields.get("SmsSid") or "").strip()
    if not message_id:
        raise NotAWebhook("the webhook's body has no id of a message")
    told = (fields.get("MessageStatus") or fields.get("SmsStatus") or "").strip().lower()
    if told in ("received", "receiving") or ("Body" in fields and told not in _STATUSES):
        ours = fields.get("MessagingServiceSid") or fields.get("To", "")
        person = _person(fields.get("From", ""))
        inbound = () if person is None else (_inbound(fields, person, message_id, received_at_ms),)
        return Webhook(SOURCE.provider, (), inbound, int(person is None), (), _account(fields, ours))
    notices = (
        ()
        if told in _STATUSES
        else (Notice("underway" if told in _UNDERWAY else "other", at_ms=received_at_ms),)
    )
    status = () if told not in _STATUSES else (_status(fields, _STATUSES[told], message_id, received_at_ms),)
    return Webhook(SOURCE.provider, status, (), 0, notices, _account(fields, fields.get("From", "")))


def _status(fields: Mapping[str, str], status: str, message_id: str, at_ms: int) -> Status:
    code = fields.get("ErrorCode", "").strip()
    errors = (StatusError(code),) if status == "failed" and _CODE.fullmatch(code) else ()
    to = _person(fields.get("To", ""))
    attempt_id = _uuid(fields.get(ATTEMPT_FIELD, ""))
    recipients = () if to is None else (to,)
    return Status(message_id_of(message_id), status, at_ms, attempt_id, errors, recipients)


def _inbound(fields: Mapping[str, str], person: str, message_id: str, at_ms: int) -> Inbound:
    """`OptOutType` is there where the provider itself has taken the text for an opt-out or an opt-in."""
    choice = _CHOICES.get(fields.get("OptOutType", "").strip().upper())
    text = fields.get("Body", "").strip()[:TEXT_CHARS_MAX]
    return Inbound(
        (person,),
        _number(fields.get("MessagingServiceSid") or fields.get("To", "")),
        "sms",
        at_ms,
        event_id=message_id_of(message_id),
        texts=(text,) if text else (),
        choice="stop" if choice == "stop" else "resume" if choice == "resume" else None,
    )


def _account(fields: Mapping[str, str], ours: str) -> tuple[AccountOfNumber, ...]:
    account, number = fields.get("AccountSid", ""), _number(ours)
    is_known = 0 < len(account) <= SID_CHARS_MAX and account.isalnum() and number
    return (AccountOfNumber(account, number, number),) if is_known else ()


def _number(found: str) -> str:
    """Ours, as `number add` names it: without the plus."""
    return found.strip().removeprefix("+")[:SID_CHARS_MAX]


def _person(found: str) -> str | None:
    digits = found.strip().removeprefix("+")
    return digits if digits.isascii() and digits.isdecimal() and 3 <= len(digits) <= 15 else None


def _fields(body: bytes) -> dict[str, str]:
    return {plain(name): plain(value) for name, value in _pairs(body)}


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise NotAWebhook(f"the webhook's body has more than {FIELDS_MAX} fields") from None


def _spellings(url: str) -> Iterator[str]:
    """The address as it is, and with its port left out or written out."""
    yield url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return
    other = host if port is not None else f"{host}:{_PORTS.get(parts.scheme, 443)}"
    yield parts._replace(netloc=other).geturl()


def _uuid(found: str) -> str | None:
    try:
        return str(UUID(found))
    except ValueError:
        return None

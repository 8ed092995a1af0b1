"""The simulated Programmable Messaging of Twilio: forms in, error codes in JSON out."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec

from ops.simulated_instances import TWILIO_ACCOUNT
from ops.simulator.common.instances import object_of
from ops.simulator.common.session_answers import Message, Refusal, Request

ERRORS = "https://www.twilio.com/docs/errors/"
BODY_CHARS_MAX = 1600
RECIPIENT = re.compile(r"\+[1-9][0-9]{7,14}\Z", re.ASCII)


def _error(status: int, code: int, message: str) -> Refusal:
    content = {"code": code, "message": message, "more_info": f"{ERRORS}{code}", "status": status}
    return Refusal(status, str(code), msgspec.json.encode(content))


NO_BODY = _error(400, 21602, "Message body is required.")
UNCLEAR = _error(500, 20500, "An internal server error has occurred")
OPTED_OUT = _error(400, 21610, "Attempt to send to unsubscribed recipient")


def not_mobile(to: str) -> Refusal:
    return _error(400, 21614, f"'To' number: +{to}, is not a valid mobile number")


class TwilioWords:
    """`opted_out`: (number, person) of those who have answered STOP; the provider itself rejects them."""

    name = "twilio"
    accepted_status = 201
    no_token = _error(401, 20003, "Authenticate")
    bad_token = _error(401, 20003, "Authenticate")
    session_lost = _error(403, 20005, "Account not active")
    too_many = _error(429, 20429, "Too Many Requests")

    def __init__(self) -> None:
        self.opted_out: set[tuple[str, str]] = set()

    def request_of(self, kind: str, body: bytes) -> Request | Refusal:
        fields = form_of(body)
        to, text = fields.get("To", ""), fields.get("Body", "")
        if not RECIPIENT.match(to):
            return _error(400, 21211, "Invalid 'To' Phone Number")
        if not text.strip():
            return NO_BODY
        if len(text) > BODY_CHARS_MAX:
            return _error(400, 21617, "The concatenated message body exceeds the 1600 character limit")
        person = to.removeprefix("+")
        if (digits_of(fields.get("From", "")), person) in self.opted_out:
            return OPTED_OUT
        return Request(person, {**fields, "text": text})

    def recipient_in(self, body: bytes) -> str:
        return digits_of(form_of(body).get("To", ""))

    def refusal_of(self, code: int, status: int | None, to: str) -> Refusal:
        causes = {
            0: self.no_token,
            190: self.bad_token,
            130429: self.too_many,
            131057: self.too_many,  # the only rejection of this API that asks for a retry
            131026: not_mobile(to),
            131050: OPTED_OUT,
        }
        if code in causes:
            return causes[code]
        return NO_BODY if status is not None and 400 <= status < 500 else UNCLEAR

    def message_id_of(self, number: str, sequence: int) -> str:
        return f"SM{int(number):020x}{sequence:012x}"

    def message_of(
        self, number: str, to: str, message_id: str, attempt_id: str | None, content: dict[str, Any]
    ) -> Message:
        shown = {
            "sid": message_id,
            "account_sid": TWILIO_ACCOUNT,
            "from": f"+{number}",
            "to": f"+{to}",
            "body": content.get("Body", ""),
            "status": "queued",
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "callback": content.get("StatusCallback", ""),
        }
        return Message(number, to, message_id, attempt_id, shown)

    def accepted(self, message: Message) -> bytes:
        return msgspec.json.encode(
            {name: value for name, value in message.shown.items() if name != "callback"}
        )

    def error_in(self, body: str) -> str | None:
        code = object_of(body.encode()).get("code")
        return str(code) if isinstance(code, int) else None


def form_of(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))


def digits_of(sender: str) -> str:
    return sender.removeprefix("+")


def attempt_in(body: bytes) -> str | None:
    """From the address of the status callback, where there is one."""
    query = urlsplit(form_of(body).get("StatusCallback", "")).query
    return next(iter(parse_qs(query).get("attempt", [])), None)


def login_of(authorization: str) -> tuple[str, str] | None:
    """User and password of HTTP's basic authentication."""
    kind, _, encoded = authorization.partition(" ")
    try:
        user, _, password = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if kind.lower() == "basic" else None

"""What recipients of e-mails do at the edge: they unsubscribe, in their mail program (RFC 8058) or on a page.

SMTP itself reports nothing. A GET changes nothing: programs that look for malware follow every link.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from sinks.messaging.email.letters import address_of, message_id_of
from sinks.messaging.email.unsubscribe import ATTEMPT, SENDER, is_signed
from sinks.webhook import (
    Acknowledgement,
    Inbound,
    NotAWebhook,
    Page,
    Secrets,
    Status,
    Webhook,
    WebhookRequest,
)

_HEAD = (
    '<!doctype html><html lang="pt-BR"><meta charset="utf-8"><meta name="viewport" '
    'content="width=device-width"><title>Cancelar / Unsubscribe</title>'
)
_ASK = Page(
    f"{_HEAD}<h1>Cancelar mensagens / Unsubscribe</h1><p>Você não receberá mais mensagens deste remetente. "
    "You will get no more messages from this sender.</p>"
    '<form method="post"><button name="List-Unsubscribe" value="One-Click">Cancelar / Unsubscribe</button>'
    "</form>"
)
_DONE = Acknowledgement(
    b"text/html; charset=utf-8",
    f"{_HEAD}<h1>Pronto / Done</h1><p>Você não receberá mais mensagens. "
    "You will get no more messages.</p>".encode(),
)


class _Unsubscribed(msgspec.Struct, frozen=True):
    sender: str
    attempt_id: UUID


class SmtpWebhooks:
    provider = "smtp"
    signing_variable = "SMTP_UNSUBSCRIBE_SECRET"
    verify_token_variable = None
    acknowledgement = _DONE

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> Page | None:
        return _ASK if is_signed(query, secrets.signing) else None

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        return is_signed(request.query, secrets.signing)

    def stored(self, request: WebhookRequest) -> bytes:
        """The body has nothing of this message; the address has it all."""
        told = {"sender": request.query.get(SENDER, ""), "attempt_id": request.query.get(ATTEMPT, "")}
        return msgspec.json.encode(told)

    def account_of(self, body: bytes) -> str | None:
        try:
            return address_of(msgspec.json.decode(body, type=_Unsubscribed).sender[:128])
        except (msgspec.DecodeError, UnicodeError):
            return None

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        """The opt-out of the message's recipient, whom only the ledger knows; and a proof that it arrived."""
        try:
            told = msgspec.json.decode(body, type=_Unsubscribed)
        except (msgspec.DecodeError, UnicodeError):
            raise NotAWebhook("the webhook's body has no sender and attempt") from None
        sender = address_of(told.sender)
        if sender is None:
            raise NotAWebhook("the webhook's sender is not an e-mail address")
        attempt_id = str(told.attempt_id)
        message_id = message_id_of(attempt_id, sender)
        status = Status(message_id, "read", received_at_ms, attempt_id)
        inbound = Inbound(
            (),
            sender,
            "unsubscribe",
            received_at_ms,
            event_id=f"unsubscribe {attempt_id}",
            choice="stop",
            reason="unsubscribed from an e-mail",
            reply_to=message_id,
            of_address=True,
        )
        return Webhook(self.provider, (status,), (inbound,), 0)

    def is_opt_out(self, code: str) -> bool:
        return False


SOURCE = SmtpWebhooks()

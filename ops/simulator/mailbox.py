"""The simulated SMTP server: signs senders in, judges messages, writes them down, and misbehaves by rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import socket
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from ops.audit.provider_record import Call
from ops.simulator.app import RESET_ON_CLOSE
from ops.simulator.common.limits import NumberRate
from ops.simulator.common.rules import Rule
from ops.simulator.common.session_answers import Shared

PROVIDER = "smtp"
LOOPBACK = "127.0.0.1"
ACCEPTED = "250 2.0.0 OK: queued"
TOO_MANY = "421 4.7.28 Too much mail in a short time"
BAD_LOGIN = "535 5.7.8 Authentication credentials invalid"
NO_SUCH_DOMAIN = "550 5.1.2 No such domain"
NO_SUCH_MAILBOX = "550 5.1.1 No such mailbox"
BAD_CONTENT = "554 5.6.0 Message content rejected"
NO_MESSAGE_ID = "554 5.6.0 A Message-ID is required"
UNCLEAR = "299 2.9.9 ?"  # neither accepted nor rejected
REPLY = re.compile(r"(\d{3})(?: ([45]\.\d{1,3}\.\d{1,3}))?")
_CAUSES = {
    0: BAD_LOGIN,
    190: BAD_LOGIN,
    130429: TOO_MANY,
    131057: "451 4.3.2 Try again later",
    131026: NO_SUCH_MAILBOX,
}

logging.getLogger("mail.log").setLevel(logging.ERROR)  # it logs every address


class Mailbox:
    """A handler of aiosmtpd. A password is the access token; every user has it."""

    def __init__(
        self,
        shared: Shared,
        token: str,
        rng: random.Random,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._shared = shared
        self._token = token.encode()
        self._rng = rng
        self._now = now
        self._clock = clock
        self._rate = NumberRate()

    async def serve(self, port: int) -> asyncio.Server:
        """Listens on loopback, without TLS."""

        def session() -> SMTP:
            return SMTP(
                self,
                hostname="simulator.invalid",
                ident="simulator",
                auth_required=True,
                auth_require_tls=False,
                authenticator=self._authenticate,
                loop=asyncio.get_running_loop(),
            )

        return await asyncio.get_running_loop().create_server(session, LOOPBACK, port)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        success = isinstance(data, LoginPassword) and data.password == self._token
        return AuthResult(success=success, handled=False, message=None if success else BAD_LOGIN)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._shared.rules.decide(address, None) is not None:
            _break(server)
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        local, _, domain = address.partition("@")
        refusal = (
            NO_SUCH_DOMAIN if domain.endswith(".invalid") else NO_SUCH_MAILBOX if local == "nobody" else ""
        )
        if refusal:
            self._write(envelope.mail_from or "", address, None, None, refusal, "", None)
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        sender, to = envelope.mail_from or "", envelope.rcpt_tos[0]
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        message = message_from_bytes(content, policy=default)
        message_id = str(message["Message-ID"] or "").strip("<> ")
        attempt_id = message_id.partition("@")[0] or None
        rule = self._shared.rules.decide(sender, to, content)
        refusal = self._judge(sender, message_id)
        if rule is not None and (not refusal or rule.do != "answer"):
            return await self._misbehave(server, rule, sender, to, message_id, attempt_id, refusal, content)
        if refusal:
            self._write(sender, to, attempt_id, None, refusal, "DATA", None)
            return refusal
        self._accept(sender, to, attempt_id, message_id, ACCEPTED, None, content)
        if (delay_s := self._shared.behaviour.reply_delay_s) > 0:
            await asyncio.sleep(self._rng.uniform(0, delay_s))
        return ACCEPTED

    def _judge(self, sender: str, message_id: str) -> str:
        if not message_id:
            return NO_MESSAGE_ID
        admitted = self._rate.admit(sender, self._clock(), self._shared.behaviour.messages_per_s)
        return "" if admitted else TOO_MANY

    async def _misbehave(
        self,
        server: SMTP,
        rule: Rule,
        sender: str,
        to: str,
        message_id: str,
        attempt_id: str | None,
        refusal: str,
        content: bytes,
    ) -> str:
        answer = _answer(rule)
        name = rule.name or rule.do
        if not refusal and (rule.taken or rule.do == "answer"):
            self._accept(sender, to, attempt_id, message_id, answer, name, content)
        else:
            self._write(sender, to, attempt_id, None, answer, "DATA", name)
        if rule.delay_s > 0:
            await asyncio.sleep(rule.delay_s)
        match rule.do:
            case "hang":
                await asyncio.Event().wait()  # until the client closes the connection
            case "half":
                await _say(server, b"250 2.0")
                _break(server, reset=False)
            case "reset":
                _break(server)
            case _:
                return answer
        return ""

    def _accept(
        self,
        sender: str,
        to: str,
        attempt_id: str | None,
        message_id: str,
        answer: str,
        rule: str | None,
        content: bytes,
    ) -> None:
        self._write(sender, to, attempt_id, message_id, answer, "DATA", rule)
        self._shared.last_messages.append(
            {"number": sender, "wamid": message_id, "request": content.decode("utf-8", "replace")}
        )

    def _write(
        self,
        sender: str,
        to: str,
        attempt_id: str | None,
        message_id: str | None,
        answer: str,
        step: str,
        rule: str | None,
    ) -> None:
        status = int(answer[:3]) if answer[:3].isdecimal() else None
        code = _code_of(step, answer) if status is not None and status >= 400 else None
        call = Call(self._now(), sender, to, attempt_id, message_id, status, code, rule, PROVIDER)
        self._shared.record.append(call)


def _code_of(step: str, answer: str) -> str:
    """As the ledger names it: the step where it decides, the code, the enhanced code."""
    found = REPLY.match(answer)
    assert found is not None
    return " ".join(part for part in (step, found[1], found[2]) if part)


def _answer(rule: Rule) -> str:
    """Empty where none is given."""
    match rule.do:
        case "answer":
            return ACCEPTED
        case "error" if rule.code in _CAUSES:
            return _CAUSES[rule.code]
        case "error":
            return BAD_CONTENT if rule.status is not None and 400 <= rule.status < 500 else UNCLEAR
        case "raw":
            return rule.body
        case "garbage":
            return "<html>502 Bad Gateway</html>"
        case _:
            return ""


async def _say(server: SMTP, text: bytes) -> None:
    transport: Any = server.transport
    if transport is not None:
        transport.write(text)
    await asyncio.sleep(0)


def _break(server: SMTP, *, reset: bool = True) -> None:
    transport: Any = server.transport
    if transport is None:
        return
    if reset:
        with contextlib.suppress(OSError, AttributeError):
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()

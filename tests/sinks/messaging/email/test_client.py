"""What an SMTP server does at each step, and what that proves: against a real server (aiosmtpd)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from pipeline.campaigns.message import Rendered
from sinks import actions
from sinks.connection import CannotConnect, Reply
from sinks.messaging.email.client import SmtpClient, outcome_of
from sinks.messaging.email.codes import BY_CODE, BY_ENHANCED, UNLISTED, action_of, code_of
from sinks.messaging.email.connections import Login, SmtpConnections
from sinks.outcomes import Ambiguous, NotCalled, NotWritten, Outcome, Rejected, Sent
from sinks.provider import Callbacks, CredentialMissing

ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
CALLBACKS = Callbacks("https://edge.test", b"secret")
LOGIN = "user:the password"


class Server:
    """Answers each step as told: a reply, or a function of the session."""

    def __init__(self, **steps: str | Callable[[SMTP], Awaitable[str]]) -> None:
        self._steps = steps
        self.received: list[bytes] = []
        self.sessions = 0

    async def _answer(self, step: str, server: SMTP, usual: str) -> str:
        told = self._steps.get(step, usual)
        return told if isinstance(told, str) else await told(server)

    async def handle_MAIL(
        self, server: SMTP, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        envelope.mail_from = address
        return await self._answer("mail", server, "250 OK")

    async def handle_RCPT(
        self, server: SMTP, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        answer = await self._answer("rcpt", server, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Any, envelope: Any) -> str:
        self.received.append(envelope.content)
        return await self._answer("data", server, "250 OK")

    def session(self) -> SMTP:
        self.sessions += 1

        def authenticate(
            _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
        ) -> AuthResult:
            good = data.password == b"the password" and "auth" not in self._steps
            refusal = str(self._steps.get("auth", "535 5.7.8 no"))
            return AuthResult(success=good, handled=False, message=None if good else refusal)

        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"auth_required": True, "auth_require_tls": False, "loop": loop}
        return SMTP(self, hostname="test.invalid", authenticator=authenticate, **options)


async def abort(server: SMTP) -> str:
    transport: Any = server.transport
    transport.abort()
    return ""


async def hang(_server: SMTP) -> str:
    await asyncio.Event().wait()
    return ""


def sent_to(
    server: Server, messages: int = 1, login: str = LOGIN, timeout_s: float = 60.0, late: bool = False
) -> list[Outcome]:
    """The outcomes of messages to the server, one after the other."""

    async def run() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(server.session, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            url = f"smtp://127.0.0.1:{port}"
            connections = SmtpConnections(url, Login.parse(login), time.monotonic, idle_max=2)
            client = SmtpClient("news@acme.example", login, connections, CALLBACKS)
            outcomes = []
            for _ in range(messages):
                connection = await connections.take()
                not_after = time.monotonic() + (-1 if late else 60)
                message = Rendered("text", text="oi\n.oi", subject="s")
                outcomes.append(
                    await client.send(
                        connection,
                        "ana@example.com",
                        message,
                        ATTEMPT,
                        not_after=not_after,
                        timeout_s=timeout_s,
                    )
                )
            connections.close()
            return outcomes

    return asyncio.run(run())


SENT = Sent(f"{ATTEMPT}@acme.example", ("ana@example.com",))


def test_messages_on_one_connection() -> None:
    server = Server()
    assert sent_to(server, messages=3) == [SENT] * 3
    assert server.sessions == 1
    assert all(b"\r\n.oi" in content for content in server.received)  # the doubled dot is undone
    url = b"\r\nList-Unsubscribe: <https://edge.test/webhooks/smtp?n=news%40acme.example&a="
    assert url in server.received[0]


@pytest.mark.parametrize(
    ("steps", "action", "code"),
    [
        ({"rcpt": "550 5.1.1 no such user"}, actions.FailRecipient(), "550 5.1.1"),
        ({"rcpt": "450 4.2.0 greylisted"}, actions.Retry(after_s=300), "450 4.2.0"),
        ({"rcpt": "421 4.7.28 slow down"}, actions.Throttle("number"), "421 4.7.28"),
        ({"mail": "553 who is this"}, actions.HoldNumber("paused"), "MAIL 553"),
        ({"data": "550 5.7.1 spam"}, actions.FailMessage(), "DATA 550 5.7.1"),
        ({"data": "451 try later"}, actions.Retry(after_s=300), "DATA 451"),
        ({"data": "550 5.7.26 unauthenticated"}, actions.HoldNumber("stopped"), "DATA 550 5.7.26"),
        ({"auth": "535 5.7.8 no"}, actions.HoldNumber("paused"), "AUTH 535 5.7.8"),
    ],
)
def test_a_reply_of_4xx_or_5xx_at_any_step_proves_that_nothing_was_sent(
    steps: dict[str, str], action: actions.Action, code: str
) -> None:
    (outcome,) = sent_to(Server(**steps))
    assert isinstance(outcome, Rejected)
    assert (outcome.action, outcome.code, outcome.listed) == (action, code, True)


def test_after_a_rejected_recipient_the_connection_is_good_for_the_next() -> None:
    server = Server(rcpt="550 5.1.1 no")
    assert len(sent_to(server, messages=3)) == 3
    assert server.sessions == 1


@pytest.mark.parametrize("step", ["mail", "rcpt"])
def test_a_connection_that_is_lost_before_the_message_is_certainly_not_sent(step: str) -> None:
    (outcome,) = sent_to(Server(**{step: abort}))
    assert isinstance(outcome, NotWritten)


@pytest.mark.parametrize("answer", [abort, "<html>gateway</html>", "299 ?", "354 more"])
def test_whatever_else_comes_after_the_final_dot_is_ambiguous(answer: Any) -> None:
    server = Server(data=answer)
    (outcome,) = sent_to(server)
    assert isinstance(outcome, Ambiguous)
    assert len(server.received) == 1


def test_no_answer_in_time_is_ambiguous_after_the_message_and_certain_before() -> None:
    assert isinstance(sent_to(Server(data=hang), timeout_s=0.5)[0], Ambiguous)
    assert isinstance(sent_to(Server(rcpt=hang), timeout_s=0.5)[0], NotWritten)


def test_too_long_after_the_mark_nothing_is_called() -> None:
    server = Server()
    assert isinstance(sent_to(server, late=True)[0], NotCalled)
    assert server.received == []


def test_a_process_that_slept_before_the_message_holds_it_back() -> None:
    """The clock passes the end of the call between the recipient and the message."""
    now = [0.0]

    async def sleep(_server: SMTP) -> str:
        now[0] += 100
        return "250 OK"

    async def run() -> Outcome:
        server = Server(rcpt=sleep)
        loop = asyncio.get_running_loop()
        async with await loop.create_server(server.session, "127.0.0.1", 0) as listening:
            url = f"smtp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            connections = SmtpConnections(url, Login.parse(LOGIN), lambda: now[0], idle_max=2)
            client = SmtpClient("news@acme.example", LOGIN, connections, CALLBACKS)
            message = Rendered("text", text="oi")
            outcome = await client.send(
                await connections.take(), "ana@example.com", message, ATTEMPT, not_after=1.0, timeout_s=60
            )
            assert server.received == []
            return outcome

    assert isinstance(asyncio.run(run()), NotCalled)


def test_a_server_that_does_not_answer_cannot_be_connected_to() -> None:
    async def run() -> None:
        connections = SmtpConnections("smtp://127.0.0.1:1", Login.parse(LOGIN), time.monotonic, idle_max=1)
        with pytest.raises(CannotConnect):
            await connections.take()

    asyncio.run(run())
    with pytest.raises(CannotConnect):
        sent_to(Server(auth="454 4.7.0 later"))


def test_an_address_that_no_server_takes_fails_without_a_call() -> None:
    server = Server()

    async def run() -> Outcome:
        connections = SmtpConnections("smtp://127.0.0.1:1", Login.parse(LOGIN), time.monotonic, idle_max=1)
        client = SmtpClient("news@acme.example", LOGIN, connections, CALLBACKS)

        class Unused:
            usable = False

            def close(self) -> None:
                """Nothing is open."""

        unused: Any = Unused()
        message = Rendered("text", text="oi")
        return await client.send(unused, "a@b\r\nRSET", message, ATTEMPT, not_after=1e18, timeout_s=1)

    outcome = asyncio.run(run())
    assert isinstance(outcome, Rejected)
    assert outcome.action == actions.FailRecipient()
    assert server.sessions == 0


@pytest.mark.parametrize(
    ("number_id", "credential", "callbacks"),
    [
        ("551100000001", LOGIN, CALLBACKS),
        ("news@acme.example", "secret-without-user", CALLBACKS),
        ("news@acme.example", LOGIN, Callbacks()),
        ("news@acme.example", LOGIN, Callbacks("http://edge.test", b"secret")),
        ("news@acme.example", LOGIN, Callbacks("https://edge.test", b"")),
    ],
)
def test_a_sender_from_which_nobody_could_unsubscribe_cannot_be_used(
    number_id: str, credential: str, callbacks: Callbacks
) -> None:
    connections = SmtpConnections("smtp://127.0.0.1:1", Login.parse(LOGIN), time.monotonic, idle_max=1)
    with pytest.raises(CredentialMissing) as caught:
        SmtpClient(number_id, credential, connections, callbacks)
    assert credential not in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        *("AUTH 535 5.7.1", "AUTH 550 5.1.1", "AUTH 554 5.2.2", "AUTH 535", "AUTH 550 5.7.0"),
        *("MAIL 550 5.7.1", "MAIL 553 5.1.3", "MAIL 552 5.3.4", "MAIL 530 5.7.0", "MAIL 501"),
        *("535 5.7.1", "DATA 530 5.7.1"),
    ],
)
def test_what_is_rejected_before_a_recipient_is_known_pauses_the_sender_and_fails_nothing(code: str) -> None:
    status = int(code.split()[-2 if "." in code else -1])
    assert action_of(code, status) == actions.HoldNumber("paused")


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("MAIL 550 5.7.28", actions.HoldNumber("quarantined")),
        ("MAIL 550 5.4.5", actions.Throttle("number")),
        ("MAIL 550 5.1.8", actions.HoldNumber("stopped")),
        ("550 5.7.1", actions.FailMessage()),
        ("DATA 550 5.7.1", actions.FailMessage()),
        ("550 5.1.1", actions.FailRecipient()),
    ],
)
def test_an_enhanced_code_decides_where_it_can(code: str, action: actions.Action) -> None:
    assert action_of(code, 550) == action


def test_codes() -> None:
    assert code_of("DATA", 550, "5.7.1 no") == "DATA 550 5.7.1"
    assert code_of("", 550, "no 5.7.1") == "550"
    assert action_of("599", 599) == UNLISTED
    assert action_of("DATA 499", 499) == actions.Retry()
    assert action_of("250", 250) is None
    assert outcome_of(Reply(599, b"no ana@example.com", {})) == Rejected(
        UNLISTED, "599", "599: no …", listed=False
    )
    assert all(code[0] in "45" for code in (*BY_CODE, *BY_ENHANCED))

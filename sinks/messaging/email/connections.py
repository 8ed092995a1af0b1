"""Connections to an SMTP server: opened, encrypted and signed in before a delivery is marked.

aiosmtplib reads and writes the protocol. Its own `sendmail` is not used: it does not report what was written
when the connection is lost, and a process that slept could not hold the message back.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPAuthenticationError, SMTPException, SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol, normalize_message_line_endings

from pipeline.campaigns.message import LOOPBACK_HOSTS
from pipeline.runtime.crash_points import reach
from sinks.connection import CONNECT_TIMEOUT_S, CannotConnect, NoReply, NothingWritten
from sinks.connection_pool import ConnectionPool
from sinks.provider import CredentialMissing

IDLE_MAX_S = 20.0  # servers wait minutes; to sign in again costs several round trips
PORTS = {"smtp": 587, "smtps": 465}
HELLO_NAME = "[127.0.0.1]"  # not the machine's own name, which servers write into the message
RESET_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Login:
    user: str
    password: str

    @classmethod
    def parse(cls, credential: str) -> Login:
        """`USER:PASSWORD`. Raises CredentialMissing, without the secret."""
        user, _, password = credential.partition(":")
        if not user or not password or not (credential.isascii() and credential.isprintable()):
            raise CredentialMissing("the credential must be USER:PASSWORD, in ASCII")
        return cls(user, password)


@dataclass(frozen=True)
class Replied:
    """The server's reply to one step: `MAIL`, `AUTH`, `DATA`, or empty for the recipient."""

    step: str
    status: int
    text: str


class SmtpConnection:
    """A session of one server, for one message at a time. `refused`: the login was rejected."""

    def __init__(self, smtp: SMTP, clock: Callable[[], float], refused: Replied | None) -> None:
        self._smtp = smtp
        self._clock = clock
        self._busy = False
        self._used_at = clock()
        self.refused = refused

    @property
    def usable(self) -> bool:
        idle_s = self._clock() - self._used_at
        return not self._busy and self.refused is None and not self._gone() and idle_s < IDLE_MAX_S

    def close(self) -> None:
        self._smtp.close()

    async def send(
        self, sender: str, to: str, message: bytes, *, not_after: float, timeout_s: float
    ) -> Replied | NothingWritten | NoReply:
        """One transaction, if the clock is below `not_after`; a `Replied` with 250 means accepted.

        Nothing is sent before the last byte of the message: what is lost until then is `NothingWritten`.
        """
        assert not self._busy
        if self.refused is not None:
            return self.refused
        if self._gone():
            return NothingWritten("the connection was closed by the server")
        if (began_at := self._clock()) >= not_after:
            return NothingWritten("too long after the mark", too_late=True)
        self._busy = True
        content = _as_data(message)
        written = False
        try:
            async with asyncio.timeout(timeout_s):
                if (refused := await self._announce(sender, to)) is not None:
                    await self._reset()
                    if refused.status >= 400:
                        return refused
                    return NothingWritten(f"the server replied {refused.status} before the message")
                protocol = self._protocol()
                # No await from here to the write: a process that was stopped in between finds the time over.
                if self._gone():
                    self.close()  # the server takes every next command for a part of the message
                    return NothingWritten("the connection was closed by the server")
                if self._clock() >= began_at + timeout_s:
                    self.close()
                    return NothingWritten("too long after the mark", too_late=True)
                protocol.write(content)
                written = True
                reach("sender.requested")
                status, text = await protocol.read_response()
        except (OSError, SMTPException, TimeoutError) as error:
            self.close()
            detail = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            return NoReply(detail) if written else NothingWritten(detail)
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._busy = False
            self._used_at = self._clock()
        return Replied("DATA", status, text)

    async def _announce(self, sender: str, to: str) -> Replied | None:
        """The commands before the message; a rejection of one of them."""
        for step, command, wanted in (
            ("MAIL", (b"MAIL", f"FROM:<{sender}>".encode()), (250,)),
            ("", (b"RCPT", f"TO:<{to}>".encode()), (250, 251)),
            ("DATA", (b"DATA",), (354,)),
        ):
            status, text = await self._smtp.execute_command(*command)
            if status not in wanted:
                return Replied(step, status, text)
        return None

    async def _reset(self) -> None:
        """The session is good for another message, or it is closed."""
        try:
            async with asyncio.timeout(RESET_TIMEOUT_S):
                await self._smtp.execute_command(b"RSET")
        except (OSError, SMTPException, TimeoutError):
            self.close()

    def _protocol(self) -> SMTPProtocol:
        protocol = self._smtp.protocol
        if protocol is None:
            raise ConnectionResetError("the connection was closed by the server")
        return protocol

    def _gone(self) -> bool:
        """Closed, or with bytes that nobody asked for: a server says goodbye before it closes."""
        if not self._smtp.is_connected:
            return True
        found = self._smtp.get_transport_info("socket")
        poll = select.poll()
        poll.register(found.fileno(), select.POLLRDHUP | select.POLLIN)
        return bool(poll.poll(0))


class SmtpConnections(ConnectionPool[SmtpConnection]):
    """`smtp://` requires STARTTLS, except on the own machine; `smtps://` is encrypted from the start."""

    def __init__(self, base_url: str, login: Login, clock: Callable[[], float], *, idle_max: int) -> None:
        """Raises ValueError for what is not an address of a server."""
        super().__init__(idle_max)
        parts = urlsplit(base_url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"not an smtp(s) URL: {base_url!r}")
        self._host = parts.hostname
        self._port = parts.port or PORTS[parts.scheme]
        self._use_tls = parts.scheme == "smtps"
        self._start_tls = not self._use_tls and self._host not in LOOPBACK_HOSTS
        self._login = login
        self._clock = clock

    async def _open(self) -> SmtpConnection:
        """A session that is signed in, or whose login was rejected."""
        smtp = SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._use_tls,
            start_tls=self._start_tls,
            local_hostname=HELLO_NAME,
            timeout=CONNECT_TIMEOUT_S,
        )
        refused = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await smtp.connect()
                try:
                    await smtp.login(self._login.user, self._login.password)
                except SMTPAuthenticationError as error:
                    if error.code < 500:
                        raise
                    refused = Replied("AUTH", error.code, error.message)
        except (OSError, SMTPException, TimeoutError) as error:
            smtp.close()
            status = f" {error.code}" if isinstance(error, SMTPResponseException) else ""
            raise CannotConnect(f"{self._host}:{self._port}: {type(error).__name__}{status}") from error
        except BaseException:
            with contextlib.suppress(Exception):
                smtp.close()
            raise
        return SmtpConnection(smtp, self._clock, refused)


def _as_data(message: bytes) -> bytes:
    """With CRLF, dots doubled at the beginnings of lines (RFC 5321, section 4.5.2), and the final dot."""
    content = normalize_message_line_endings(message)
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"

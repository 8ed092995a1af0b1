"""An HTTP/1.1 connection for one request at a time, which reports whether any byte of it was written.

A general HTTP client hides what the ledger depends on: whether anything was written, and whether only once.
Here the connection is opened before a delivery is marked, the last check of the time and the write are one
uninterrupted step, and no request is sent again.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from pipeline.runtime.crash_points import reach
from sinks.connection_pool import ConnectionPool

REPLY_BYTES_MAX = 262_144  # a provider's answer has a few hundred bytes
CONNECT_TIMEOUT_S = 5.0
# Shorter than any provider's own: an idle connection is dropped by us, not under us.
IDLE_MAX_S = 2.0


@dataclass(frozen=True)
class Endpoint:
    """Where a provider is reached. `path` starts with `/` and has no trailing one."""

    host: str
    port: int
    tls: bool
    path: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Raises ValueError for what is no http(s) URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url!r}")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/"))


class CannotConnect(Exception):
    """Refused, no such host, TLS failed, or took too long: nothing was written."""


@dataclass(frozen=True)
class Reply:
    """A whole answer. Header names are lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NothingWritten:
    """The connection was gone, or the time was over, before the first byte."""

    detail: str
    too_late: bool = False


@dataclass(frozen=True)
class NoReply:
    """The request was written, wholly or in part, and no whole answer came."""

    detail: str


class _Wire(asyncio.Protocol):
    """Bytes in, one `Reply` or `NoReply` out for each request."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.answer: asyncio.Future[Reply | NoReply] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._headers: dict[str, str] = {}
        self._headers_done = False

    def expect(self, answer: asyncio.Future[Reply | NoReply]) -> None:
        self._begin()
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes. They write late, too: see process.py.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.answer is None or self.answer.done():
            self._hang_up()  # bytes that nobody asked for: the next answer could not be told from them
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._settle(NoReply("the answer is no HTTP"))
            self._hang_up()

    def eof_received(self) -> bool:
        self.closed = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        sized = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self._headers_done and not sized and error is None:  # the end of the connection ends the body
            self._settle(Reply(self._parser.get_status_code(), bytes(self._body), self._headers))
            return
        kind = "closed" if error is None else f"lost ({type(error).__name__})"
        self._settle(NoReply(f"the connection was {kind} before a whole answer"))

    def on_message_begin(self) -> None:
        if self.answer is not None and self.answer.done():
            self._hang_up()  # a second answer in the bytes of the first

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > REPLY_BYTES_MAX:
            self._settle(NoReply(f"the answer has more than {REPLY_BYTES_MAX} bytes"))
            self._hang_up()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer: the real one follows
            self._body, self._headers, self._headers_done = bytearray(), {}, False
            return
        if not self._parser.should_keep_alive():
            self._hang_up()
        self._settle(Reply(status, bytes(self._body), self._headers))

    def _settle(self, answer: Reply | NoReply) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(answer)

    def _hang_up(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.close()


class Line:
    """An open connection to an endpoint."""

    def __init__(self, wire: _Wire, clock: Callable[[], float]) -> None:
        self._wire = wire
        self._clock = clock
        self._busy = False
        self._used_at = clock()

    @classmethod
    async def open(cls, endpoint: Endpoint, tls: ssl.SSLContext | None, clock: Callable[[], float]) -> Line:
        """Raises CannotConnect; no byte of a request was written then."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, wire = await loop.create_connection(
                    _Wire, endpoint.host, endpoint.port, ssl=tls if endpoint.tls else None
                )
        except (OSError, TimeoutError) as error:
            raise CannotConnect(f"{endpoint.host}:{endpoint.port}: {type(error).__name__}") from error
        return cls(wire, clock)

    @property
    def usable(self) -> bool:
        """True if it may carry a request now: open, idle, and not idle for too long."""
        return not self._busy and not self._gone() and self._clock() - self._used_at < IDLE_MAX_S

    async def call(
        self, request: bytes, *, not_after: float, timeout_s: float
    ) -> Reply | NothingWritten | NoReply:
        """Writes the request once, if the clock is below `not_after`; waits `timeout_s` for its answer."""
        assert not self._busy
        transport = self._wire.transport
        answer: asyncio.Future[Reply | NoReply] = asyncio.get_running_loop().create_future()
        # No await from here to the write: a process that was stopped in between finds the time over.
        if transport is None or self._gone():
            return NothingWritten("the connection was closed by the provider")
        if self._clock() >= not_after:
            return NothingWritten("too long after the mark", too_late=True)
        self._wire.expect(answer)
        transport.write(request)
        reach("sender.requested")
        self._busy = True
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            self.close()
            return NoReply(f"no answer within {timeout_s:g} s")
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._busy = False
            self._used_at = self._clock()

    def close(self) -> None:
        self._wire.closed = True
        if self._wire.transport is not None:
            self._wire.transport.abort()

    def _gone(self) -> bool:
        transport = self._wire.transport
        if self._wire.closed or transport is None or transport.is_closing():
            return True
        # The event loop may not have seen the provider's goodbye yet: ask the kernel.
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))


class Lines(ConnectionPool[Line]):
    """The connections to one endpoint."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float], *, idle_max: int) -> None:
        super().__init__(idle_max)
        self.endpoint = endpoint
        self._clock = clock
        self._tls = ssl.create_default_context() if endpoint.tls else None

    async def _open(self) -> Line:
        return await Line.open(self.endpoint, self._tls, self._clock)

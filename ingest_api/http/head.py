"""uvicorn's HTTP protocol with limits on a request's head and body, and with one reading of its framing.

Without them httptools stores a head of any size, and uvicorn waits without limit for its end and for that of
the body. It also wakes the handler for each part of a body, so that slow bodies cost as much as requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingest_api.http.body import BODY_TIMEOUT_S, DROPPED_BYTES_MAX
from ingest_api.http.cors import ANY_ORIGIN
from ingest_api.http.lingering import Lingering, Places
from ingest_api.http.metrics import HEADS_REJECTED
from ingest_api.http.problems import (
    AMBIGUOUS_FRAMING,
    HEADERS_TOO_LARGE,
    MEDIA_TYPE,
    NOT_HTTP,
    Kind,
    Problem,
)

HEAD_BYTES_MAX = 16_384
HEADERS_MAX = 64
# From the connection, or the first part of a later head, to the end of the head; also for dropping a body.
HEAD_TIMEOUT_S = 10.0
BODY_AGAIN_S = 0.25  # the clock of `read_body` began a moment after the deadline of the body
FIRST_HEAD_S = 1.0  # for so long a new connection is not idle though it has sent nothing
RETRY_AFTER_S = 5.0  # of a connection that is rejected
# Of a connection without a request, at the stop. Longer than the load balancer keeps an idle one
# (`ops.balancer`): a request that is on its way on it is answered.
LAST_REQUEST_S = 3.0


class Limits(Protocol):
    """Limits on open connections: see `ingest_api.limits.connections`."""

    lingering: Places

    def opened(self, host: str, connection: Any, connections: Collection[Any]) -> Kind | None: ...
    def closed(self, host: str, connection: Any) -> None: ...


class BoundedHead(HttpToolsProtocol):
    """Closes a connection that exceeds a limit, after sending a problem if an answer is still possible."""

    def __init__(self, limits: Limits, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._closing = Lingering(transport, self.loop, self._limits.lingering, self._answered_early)
        super().connection_made(self._closing)  # type: ignore[arg-type]
        self._host = self.client[0] if self.client else ""
        self._began = False
        self._opened_s = self.loop.time()
        self._in_head = True
        self._in_body = False
        self._unfinished_bytes = 0
        self._dropped_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._again = b""
        self._stopping = False
        self._set_deadline(HEAD_TIMEOUT_S)
        problem = self._limits.opened(self._host, self, self.connections)
        if problem is not None:
            self._close_with(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing.lost()
        self._clear_deadline()
        self._limits.closed(self._host, self)
        super().connection_lost(exc)

    def _answered_early(self) -> bool:
        return self._in_body and self.cycle is not None and self.cycle.response_started

    @property
    def is_idle(self) -> bool:
        if self.transport.is_closing():
            return False
        if not self._began:
            return self.loop.time() - self._opened_s > FIRST_HEAD_S
        return self.cycle.response_complete

    def close(self) -> None:
        self.transport.close()

    def shutdown(self) -> None:
        """Close after the next answer: that of the request in flight, or of one within LAST_REQUEST_S."""
        self._stopping = True
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                LAST_REQUEST_S, self.timeout_keep_alive_handler
            )
        else:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        if self._closing.lingers:
            self._closing.drop(data)
            return
        self._unset_keepalive_if_required()
        was_in_head = self._in_head
        self._parse(data)
        if self._in_head:
            if self._deadline is None:
                self._set_deadline(HEAD_TIMEOUT_S)
            if was_in_head:
                self._unfinished_bytes += len(data)
                if self._unfinished_bytes > HEAD_BYTES_MAX:
                    self._reject(HEADERS_TOO_LARGE)
        elif self._in_body and self._deadline is None:
            self._set_deadline(BODY_TIMEOUT_S)

    def _parse(self, data: bytes) -> None:
        """Parse, ignoring any request for another protocol.

        The parser ends at such a request's head. Its head is therefore read again without the request, and
        then what follows it, which is its body.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.transport.is_closing():
                    return
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                data = self._again + data[upgrade.args[0] :]
                self._again = b""
                continue
            except httptools.HttpParserError:
                self.send_400_response("")
            return

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unfinished_bytes = 0
        self._clear_deadline()
        if self.transport.is_closing():
            return
        size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        names = [name for name, _value in self.headers]
        if size > HEAD_BYTES_MAX or len(names) > HEADERS_MAX:
            self._reject(HEADERS_TOO_LARGE)
        elif names.count(b"host") > 1 or (b"transfer-encoding" in names and not self._is_chunked()):
            self._reject(AMBIGUOUS_FRAMING)
        elif self.parser.should_upgrade():
            self._again = self._without_upgrade()
            if not self._again:
                self._reject(NOT_HTTP)
        else:
            self._in_body = self._began = True
            super().on_headers_complete()
            if self._stopping:
                self.cycle.keep_alive = False

    def _is_chunked(self) -> bool:
        """Whether the only coding of the body is `chunked`, of which every server reads the same body."""
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        return codings == [b"chunked"] and self.parser.get_http_version() == "1.1"

    def _without_upgrade(self) -> bytes:
        """Return the request's head without its wish for another protocol; empty for a CONNECT."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            return b""
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle.response_complete:
            self._drop(body)
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._again:
            return
        self._in_body = False
        self._dropped_bytes = 0
        self._clear_deadline()
        if not self.transport.is_closing():
            super().on_message_complete()

    def _drop(self, body: bytes) -> None:
        if not self._dropped_bytes:
            self._clear_deadline()
            self._set_deadline(HEAD_TIMEOUT_S)
        self._dropped_bytes += len(body)
        if self._dropped_bytes > DROPPED_BYTES_MAX:
            self._closing.abandon()

    def send_400_response(self, msg: str) -> None:
        self._reject(NOT_HTTP)

    def _set_deadline(self, after_s: float) -> None:
        self._deadline = self.loop.call_later(after_s, self._too_slow)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self._closing.lingers:
            return
        if self._in_body and not self.cycle.response_complete:
            self.cycle.message_event.set()  # `read_body` looks at the clock
            self._set_deadline(BODY_AGAIN_S)
            return
        HEADS_REJECTED.labels("too-slow").inc()
        self._closing.abandon()

    def _reject(self, kind: Kind) -> None:
        if self.transport.is_closing():
            return
        HEADS_REJECTED.labels(kind.slug).inc()
        self._close_with(kind)

    def _close_with(self, kind: Kind) -> None:
        reply = Problem(kind, kind.advice, retry_after_s=RETRY_AFTER_S if kind.retry else None).reply()
        headers = b"".join(b"%b: %b\r\n" % header for header in (*reply.headers, *ANY_ORIGIN))
        self.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
            % (STATUS_LINE[kind.status], MEDIA_TYPE, len(reply.body), headers, reply.body)
        )
        self._closing.linger()

"""uvicorn's HTTP protocol with limits on a request's head and on the dropped part of a rejected body.

Without them httptools stores a head of any size, and uvicorn waits without limit for its end.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingest_api.http.body import DROPPED_BYTES_MAX
from ingest_api.http.metrics import HEADS_REJECTED
from ingest_api.http.problems import HEADERS_TOO_LARGE, MEDIA_TYPE, NOT_HTTP, Kind, Problem

HEAD_BYTES_MAX = 16_384
HEADERS_MAX = 64
# From the connection, or the first part of a later head, to the end of the head; also for dropping a body.
HEAD_TIMEOUT_S = 10.0


class BoundedHead(HttpToolsProtocol):
    """Closes a connection that exceeds a limit, after sending a problem if an answer is still possible."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_head = True
        self._unfinished_bytes = 0
        self._dropped_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if not self._in_head:
            return
        if self._deadline is None:
            self._set_deadline()
        if was_in_head:
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > HEAD_BYTES_MAX:
                self._reject(HEADERS_TOO_LARGE)

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
        if size > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._reject(HEADERS_TOO_LARGE)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle.response_complete:
            self._drop(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._dropped_bytes:
            self._dropped_bytes = 0
            self._clear_deadline()
        if not self.transport.is_closing():
            super().on_message_complete()

    def _drop(self, body: bytes) -> None:
        self._dropped_bytes += len(body)
        if self._dropped_bytes > DROPPED_BYTES_MAX:
            self.transport.close()
        elif self._deadline is None:
            self._set_deadline()

    def send_400_response(self, msg: str) -> None:
        self._reject(NOT_HTTP)

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        HEADS_REJECTED.labels("too-slow").inc()
        self.transport.close()

    def _reject(self, kind: Kind) -> None:
        if self.transport.is_closing():
            return
        HEADS_REJECTED.labels(kind.slug).inc()
        reply = Problem(kind, kind.advice).reply()
        self.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[kind.status], MEDIA_TYPE, len(reply.body), reply.body)
        )
        self.transport.close()

"""Serves `/metrics`, `/health/live` and `/health/ready` for processes without a web server."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

log = logging.getLogger(__name__)

HOST_ENV = "QUIZSTREAM_METRICS_HOST"  # 0.0.0.0 in a container, whose loopback is unreachable from outside
LOOPBACK = "127.0.0.1"
REQUEST_TIMEOUT_S = 5.0  # a client that sends nothing occupies a thread at most so long
REQUESTS_AT_ONCE_MAX = 8


@dataclass(frozen=True)
class Readiness:
    """Ready if there are no reasons against it. Reasons are for operators: no secrets, no personal data."""

    reasons: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Observed:
    """A running server. `port` is the bound port, also if port 0 was requested."""

    port: int
    stop: Callable[[], None]


def serve(
    port: int,
    ready: Callable[[], Readiness],
    host: str | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> Observed:
    """Serve until `stop`, from daemon threads. Raises OSError if the port is in use.

    `ready` is called for each request of `/health/ready`, from a thread of this server, and must not block;
    an exception is shown as "not ready". `host` is by default the environment's, else loopback.
    """

    class Handler(_Handler):
        readiness = staticmethod(ready)
        metrics = registry

    server = _Server((host or os.environ.get(HOST_ENV, LOOPBACK), port), Handler)
    thread = threading.Thread(target=server.serve_forever, name="observe", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return Observed(port=server.server_address[1], stop=stop)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(REQUESTS_AT_ONCE_MAX)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        log.debug("observe: request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S
    readiness: Callable[[], Readiness]
    metrics: CollectorRegistry

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._reply(200, CONTENT_TYPE_LATEST, generate_latest(self.metrics))
            case "/health/live":
                self._reply_json(200, {"live": True})
            case "/health/ready":
                now = self._now()
                status = 200 if now.ready else 503
                self._reply_json(status, {"ready": now.ready, "reasons": list(now.reasons)})
            case _:
                self._reply_json(404, {"paths": ["/metrics", "/health/live", "/health/ready"]})

    def _now(self) -> Readiness:
        try:
            return self.readiness()
        except Exception as error:
            log.exception("observe: the readiness check failed")
            return Readiness((f"the readiness check failed: {type(error).__name__}",))

    def _reply_json(self, status: int, body: dict[str, Any]) -> None:
        self._reply(status, "application/json", json.dumps(body).encode())

    def _reply(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No log line: a scrape comes every few seconds."""

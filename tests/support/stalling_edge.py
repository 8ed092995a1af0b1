"""An address before an edge that holds requests back until a test lets them pass."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.edge import Edge

HELD_S_MAX = 120.0  # a bound on a hang


@dataclass
class StallingEdge:
    edge: Edge
    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    media_types: list[str] = field(default_factory=list)
    passes: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[str]:
        return [json.loads(body)["completion_id"] for body in self.bodies]


@contextmanager
def stalling(edge: Edge) -> Iterator[StallingEdge]:
    held = StallingEdge(edge)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            held.media_types.append(self.headers["content-type"])
            held.bodies.append(body)
            assert held.passes.wait(HELD_S_MAX)
            answer = held.edge.ask("POST", self.path, body, {"content-type": self.headers["content-type"]})
            try:
                self.send_response(answer.status)
                self.send_header("access-control-allow-origin", "*")
                self.send_header("content-type", answer.headers["content-type"])
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:
                pass  # the page has gone

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield held
    finally:
        held.passes.set()
        server.shutdown()
        server.server_close()
        thread.join(30)

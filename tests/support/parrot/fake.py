"""The parrot itself, over HTTP: repeats what it is told, keeps what it took, and misbehaves by the text."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-cracker"


class FakeParrot(ThreadingHTTPServer):
    """`taken` is message id by attempt. A text of `!<code>` is refused with it, `hang` gets no answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.taken: dict[str, str] = {}
        self.calls: list[dict[str, Any]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeParrot

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(body)
        if self.headers["Token"] != TOKEN:
            self._answer(403, {"squawk": "stranger"})
        elif body["text"].startswith("!"):
            self._answer(422, {"squawk": body["text"][1:]})
        else:
            message_id = f"squawk-{len(self.server.taken)}"
            self.server.taken[body["track"]] = message_id
            if body["text"] == "hang":
                self.server.over.wait(30)
            self._answer(201, {"id": message_id})

    def do_GET(self) -> None:
        found = self.server.taken.get(self.path.partition("track=")[2])
        self._answer(404 if found is None else 201, {} if found is None else {"id": found})

    def _answer(self, status: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keeps quiet."""


@contextmanager
def running() -> Iterator[FakeParrot]:
    parrot = FakeParrot()
    thread = threading.Thread(target=parrot.serve_forever)
    thread.start()
    try:
        yield parrot
    finally:
        parrot.over.set()
        parrot.shutdown()
        thread.join()
        parrot.server_close()

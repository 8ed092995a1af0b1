"""A request to stop that anyone may make: another thread, or a signal, whenever it comes."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress


class StopRequest:
    """Made once or more, waited for by the main thread.

    Not a `threading.Event` that a handler sets. A signal may come where the waiting thread holds the event's
    lock, and `set` then waits for its own thread. It may also come in the instant before that thread sleeps:
    Python runs no handler until the thread wakes, and nothing wakes it. The byte that
    `signal.set_wakeup_fd` writes at once waits for its reader.
    """

    def __init__(self) -> None:
        self._made, self._maker = socket.socketpair()
        self._maker.setblocking(False)

    def make(self) -> None:
        """Safe in any thread."""
        with suppress(BlockingIOError):  # full of requests
            self._maker.send(b"\0")

    def make_on_signals(self) -> None:
        """SIGTERM and SIGINT (Ctrl-C) make it from now on. Only the main thread can call this."""
        signal.set_wakeup_fd(self._maker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def wait(self) -> None:
        """Returns once the request was made, before this call or during it."""
        self._made.recv(1)

"""A request to stop, made by another thread or by a signal, at any time."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress


class StopRequest:
    """Made once or more; the main thread waits for it.

    Not a `threading.Event` that a signal handler sets, for two reasons:

    - A signal may arrive while the waiting thread holds the event's lock: `set` then waits for
      its own thread.
    - A signal may arrive just before that thread sleeps: Python runs no handler until the thread wakes, and
      nothing wakes it.

    `signal.set_wakeup_fd` writes a byte at once, which stays until it is read.
    """

    def __init__(self) -> None:
        self._made, self._maker = socket.socketpair()
        self._maker.setblocking(False)

    def make(self) -> None:
        """Request the stop. Safe in any thread."""
        with suppress(BlockingIOError):  # full of requests
            self._maker.send(b"\0")

    def make_on_signals(self) -> None:
        """SIGTERM and SIGINT (Ctrl-C) make the request from now on. Only for the main thread."""
        signal.set_wakeup_fd(self._maker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def wait(self) -> None:
        """Return once the request is made, before this call or during it."""
        self._made.recv(1)

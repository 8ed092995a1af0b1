"""A request to stop that anyone may make: another thread, or a signal while the main thread waits for it."""

from __future__ import annotations

import signal
from queue import SimpleQueue


class StopRequest:
    """Made once or more, waited for by one thread.

    Not a `threading.Event`: a signal handler runs between any two instructions of the main thread, also where
    that thread holds the event's lock, and `set` would then wait for ever for a lock of its own thread.
    `SimpleQueue.put` is documented to be safe there.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[None] = SimpleQueue()

    def make(self) -> None:
        """Safe in any thread and in a signal handler."""
        self._requests.put(None)

    def make_on_signals(self) -> None:
        """SIGTERM and SIGINT (Ctrl-C) make it from now on. Only the main thread can call this."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.make())

    def wait(self) -> None:
        """Returns once the request was made, before this call or during it."""
        self._requests.get()

"""Decides whether a request may try the log at all: after a few failures in a row nobody waits for one more.

Moved by events only, so it needs no clock: whoever owns it reports each delivery, and tells it when the log
was reached again (`ingest_api.kafka.producer` asks the brokers while it is open).
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    CLOSED = 0  # every request may try
    HALF_OPEN = 1  # the brokers answer again: one request may try
    OPEN = 2  # nobody may


class Breaker:
    """Opens at `failures_max` failures without a success between. Half open, one request is out at most."""

    def __init__(self, failures_max: int) -> None:
        self._failures_max = failures_max
        self._failures = 0
        self._trying = False
        self.state = State.CLOSED

    def admits(self) -> bool:
        """True lets the caller try, who must then report `succeeded`, `failed` or `withdrawn`."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.HALF_OPEN and not self._trying:
            self._trying = True
            return True
        return False

    def succeeded(self) -> None:
        """Closes it from any state: a late success also proves that the log is there."""
        self._failures = 0
        self._trying = False
        self.state = State.CLOSED

    def failed(self) -> bool:
        """Returns whether this failure opened it."""
        if self.state is State.OPEN:
            return False
        self._failures += 1
        if self.state is State.CLOSED and self._failures < self._failures_max:
            return False
        self.open()
        return True

    def withdrawn(self) -> None:
        """An admitted request never came to the log, or failed by its own fault: another may try."""
        self._trying = False

    def open(self) -> None:
        self._trying = False
        self.state = State.OPEN

    def reached(self) -> None:
        """The brokers answer; whether they also write is for one request to find out."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN

"""A connection's transport that is closed without a reset, also while the client still sends.

A socket that is closed with unread data is reset, and the client's system then drops an answer that the
client has not read yet. So the sending half is closed first; what still comes is read and dropped until the
client closes, for LINGER_S and LINGER_BYTES_MAX at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ingest_api.http.body import DROPPED_BYTES_MAX
from ingest_api.http.metrics import LINGERING

LINGER_S = 5.0  # shorter than the edge waits for answers at its stop
LINGER_BYTES_MAX = DROPPED_BYTES_MAX
# Beyond it connections are closed at once, so that a flood of rejected ones holds no descriptors.
LINGERING_MAX = 256


class Places:
    """Counts the lingering connections of one edge."""

    def __init__(self, places_max: int = LINGERING_MAX) -> None:
        self._places_max = places_max
        self._taken = 0
        LINGERING.set_function(lambda: self._taken)

    def take(self) -> bool:
        if self._taken >= self._places_max:
            return False
        self._taken += 1
        return True

    def give_back(self) -> None:
        self._taken -= 1


class Lingering:
    """The part of a transport that uvicorn uses. One that lingers is closing to it.

    `answered_early`: whether an answer has begun before the request was read to its end.
    """

    __slots__ = (
        "_answered_early",
        "_bytes",
        "_deadline",
        "_loop",
        "_paused",
        "_places",
        "_transport",
        "get_extra_info",
        "lingers",
        "write",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        places: Places,
        answered_early: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._places = places
        self._answered_early = answered_early
        self._bytes = 0
        self._paused = False
        self._deadline: asyncio.TimerHandle | None = None
        self.lingers = False
        # Bound once: they are called for each answer.
        self.write = transport.write
        self.get_extra_info: Any = transport.get_extra_info

    def is_closing(self) -> bool:
        return self.lingers or self._transport.is_closing()

    def pause_reading(self) -> None:
        if not self.lingers:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        if self._answered_early():
            self.linger()
        else:
            self._transport.close()

    def abandon(self) -> None:
        """Close at once, whatever the client still sends."""
        self._transport.close()

    def linger(self) -> None:
        """Close the sending half now, the other later; at once where too many linger."""
        if self.is_closing():
            return
        if not self._places.take():
            self._transport.close()
            return
        self.lingers = True
        self._deadline = self._loop.call_later(LINGER_S, self._transport.close)
        self.resume_reading()
        self._transport.write_eof()

    def drop(self, data: bytes) -> None:
        """Take what the client sends meanwhile."""
        self._bytes += len(data)
        if self._bytes > LINGER_BYTES_MAX:
            self._transport.close()

    def lost(self) -> None:
        """The connection is closed."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._places.give_back()

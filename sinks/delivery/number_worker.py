"""A sending number at work: its queue and pace, its connections, its way of calling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.campaigns.message import Rendered
from sinks.connection import Endpoint, Lines
from sinks.delivery.limiter import Limiter
from sinks.delivery.numbers import Number
from sinks.delivery.rows import Leased
from sinks.providers import provider_named


@dataclass(frozen=True, slots=True)
class Sendable:
    """A leased delivery with its whole message."""

    delivery: Leased
    to: str
    message: Rendered
    template: str | None


class Desk:
    """`number` is replaced at each renewal of its lease; everything else lives as long as the lease does."""

    def __init__(
        self,
        number: Number,
        token: str,
        *,
        messages_per_s: int,
        in_flight_max: int,
        queue_wait_max_s: float,
        clock: Callable[[], float],
    ) -> None:
        """Raises ValueError for an address, CredentialMissing for a token that cannot be used."""
        self.provider = provider_named(number.provider)
        self.number = number
        self.lines = Lines(Endpoint.parse(number.base_url), clock, idle_max=in_flight_max)
        self.client = self.provider.open(number.number_id, token, self.lines)
        self.limiter: Limiter[Sendable] = Limiter(
            messages_per_s=number.messages_per_s or messages_per_s,
            in_flight_max=in_flight_max,
            queue_wait_max_s=queue_wait_max_s,
            clock=clock,
        )
        self.wake = asyncio.Event()
        self.setbacks = 0  # throttles or failed connections since the last answer
        self._clock = clock
        self.closed = False

    @property
    def usable(self) -> bool:
        return not self.closed and self._clock() < self.number.usable_until

    def offer(self, sendable: Sendable) -> None:
        self.limiter.offer(sendable)
        self.wake.set()

    def close(self) -> list[Sendable]:
        """Takes on nothing more; what was still queued is the caller's to hand back."""
        self.closed = True
        self.wake.set()
        return self.limiter.drain()

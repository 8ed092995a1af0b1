"""The size of a claim: what each number can send soon. Pure.

A delivery that is leased and not called in time is returned: two writes and two events without effect. A
number therefore requests only what it can start within `CLAIM_AHEAD_S` and within the rest of its own
lease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sinks.delivery.pacing.limiter import Limiter

CLAIM_AHEAD_S = (
    2.0  # covers a poll, the claim and the way of its events to Kafka, with the queue still filled
)

Worker = TypeVar("Worker")


@dataclass(frozen=True, slots=True)
class Room(Generic[Worker]):
    """What one number can take now. `wanted` is the size of its whole queue, `room` what is free of it."""

    worker: Worker
    room: int
    wanted: int

    @property
    def needy(self) -> bool:
        """Half of the queue is free: claims in small pieces would cost more each."""
        return self.room >= max(1, self.wanted // 2)


def room_of(
    worker: Worker, limiter: Limiter[Any], *, pending: int, lease_left_s: float, batch_max: int
) -> Room[Worker]:
    """`pending`: leased for this number and on their way to its queue. `lease_left_s` is of its own lease,
    `batch_max` bounds the queue of a fast number.
    """
    openings = limiter.openings(min(CLAIM_AHEAD_S, lease_left_s)) if lease_left_s > 0 else 0
    wanted = min(batch_max, max(1, math.ceil(limiter.pace.per_s * CLAIM_AHEAD_S)))
    queued = limiter.queued + pending
    return Room(worker, max(0, min(batch_max, openings) - queued), wanted)


def claim_places(rooms: Sequence[Room[Worker]]) -> dict[Worker, int]:
    """How many deliveries to lease for each of these numbers; empty: none now.

    Once one of them is needy all are filled up, so that they become needy together: few large claims cost
    less than many small ones. A number whose queue stays full does not keep the others from claiming.
    """
    if not any(room.needy for room in rooms):
        return {}
    return {room.worker: room.room for room in rooms if room.room > 0}

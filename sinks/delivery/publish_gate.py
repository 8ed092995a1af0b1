"""The publish gate: a delivery is not called before its `leased` event is in its topic.

A restored ledger reads from that topic which deliveries may have been called (docs/dead_letters.md). Each
delivery waits only for its own event, independent of other rows of the outbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from sinks.delivery.rows import Leased

Assigned = tuple[str, Leased]
"""A number's id, and a delivery that was leased for it."""


@dataclass(frozen=True, slots=True)
class _Claim:
    assigned: Sequence[Assigned]
    at_s: float


class PublishGate:
    """`clock` is monotonic; a delivery is late once it has waited for `wait_max_s`."""

    def __init__(self, clock: Callable[[], float], wait_max_s: float) -> None:
        self._clock = clock
        self._wait_max_s = wait_max_s
        self._claims: list[_Claim] = []
        self._counts: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._claims)

    def count(self, number_id: str) -> int:
        """How many deliveries of a number wait here."""
        return self._counts[number_id]

    def event_ranges(self) -> list[tuple[int, int]]:
        """First and last id in the outbox of the events that are waited for, claim by claim."""
        ids = [[delivery.event_id for _, delivery in claim.assigned] for claim in self._claims]
        return [(min(each), max(each)) for each in ids]

    def add(self, assigned: Sequence[Assigned]) -> None:
        """One claim."""
        if assigned:
            self._keep([*self._claims, _Claim(assigned, self._clock())])

    def take(self, unpublished: Container[int]) -> tuple[list[Assigned], list[Leased]]:
        """Those whose event is not `unpublished`, in the order of their claims; and the late ones.

        `unpublished` is of now or older: an event that is in its topic stays there.
        """
        published: list[Assigned] = []
        late: list[Leased] = []
        kept: list[_Claim] = []
        for claim in self._claims:
            left: list[Assigned] = []
            for one in claim.assigned:
                (left if one[1].event_id in unpublished else published).append(one)
            if self._clock() - claim.at_s > self._wait_max_s:
                late += [delivery for _, delivery in left]
            elif left:
                kept.append(_Claim(left, claim.at_s))
        self._keep(kept)
        return published, late

    def give_up(self) -> list[Leased]:
        """Everything that waits here, which then waits no more."""
        left = [delivery for claim in self._claims for _, delivery in claim.assigned]
        self._keep([])
        return left

    def _keep(self, claims: list[_Claim]) -> None:
        self._claims = claims
        self._counts = Counter(number_id for claim in claims for number_id, _ in claim.assigned)

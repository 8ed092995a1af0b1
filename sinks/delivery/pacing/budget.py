"""A budget: so many uses in any moving window, shared by all who spend it; who goes now, and who waits. Pure.

A use is a person (of a Meta portfolio) or a message (of a session number). A delivery without a place gets
a place in a queue: the number of uses that have to leave the window before it. The higher priority first,
then first in first out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

CYCLES_MAX = 36_500  # windows that a forecast looks ahead: a hundred years of days


@dataclass(frozen=True, slots=True)
class Budget:
    """`used` leave the window by time; `booked` deliveries wait, by priority."""

    limit: int
    used: int
    booked: Mapping[int, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def too_many(self) -> int:
        """Uses beyond a limit that was lowered: they leave the window first, without making a place."""
        return max(0, self.used - self.limit)


@dataclass(frozen=True, slots=True)
class Ask:
    """A delivery that is about to be called. `costs` False: its use is in the window already, or none is
    counted. `booked`: it was in the queue already, with so many `before` it.
    """

    subject: str
    priority: int
    costs: bool
    booked: bool
    before: int = 0


def judge(budget: Budget, asks: Sequence[Ask]) -> list[int | None]:
    """For each, in order: None, it may be called now; else its place in the queue, 0 being the next."""
    free, booked, gone = budget.free, Counter(budget.booked), 0
    going: set[str] = set()
    answers: list[int | None] = []
    for ask in asks:
        ahead = sum(count for priority, count in booked.items() if priority >= ask.priority)
        goes = not ask.costs or ask.subject in going
        if not goes and free > 0 and (ask.booked or free > ahead):
            goes = True
            free -= 1
            going.add(ask.subject)
        if goes:
            answers.append(None)
            booked[ask.priority] -= ask.booked
            gone += ask.booked
        elif ask.booked:  # a more urgent one took its place
            answers.append(budget.too_many + max(0, ask.before - gone))
        else:
            answers.append(budget.too_many + max(0, ahead - free))
            booked[ask.priority] += 1
    return answers


def cycle_of(place: int, limit_in: Callable[[int], int]) -> tuple[int, int] | None:
    """Which whole windows a place in the queue lies ahead, and which use of one it waits for; None: never.

    `limit_in(n)` is the limit n windows from now.
    """
    for cycle in range(CYCLES_MAX):
        most = limit_in(cycle)
        if place < most:
            return cycle, place
        place -= most
    return None


def last_place(budget: Budget, waiting: int) -> int | None:
    """The place in the queue of the last of so many deliveries; None where all may be called now."""
    return None if waiting <= budget.free else budget.too_many + waiting - budget.free - 1


def limit_on(day: int, curve: Sequence[int]) -> int:
    """A daily limit that grows: `curve` has one a day since the first message; the last one stays."""
    return curve[min(max(day, 0), len(curve) - 1)]

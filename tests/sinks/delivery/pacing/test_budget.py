"""A budget on a clock that the test moves: never above its limit in any window, first in first out, and none
waits for ever. The forecast is what happens.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.delivery.pacing.budget import Ask, Budget, cycle_of, judge, last_place, limit_on

WINDOW_S = 100.0


@dataclass(order=True)
class Waiter:
    """A delivery, in the order in which a claim returns those that are due."""

    due_at: float
    arrived: int
    subject: str = field(compare=False)
    booked: bool = field(default=False, compare=False)


class Ledger:
    """What the ledger keeps of one budget, as plain as can be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.now = 0.0
        self.used_at: dict[str, float] = {}
        self.waiting: list[Waiter] = []
        self.called: list[tuple[float, int, str]] = []
        self.judged = 0

    def arrives(self, subject: str) -> None:
        heapq.heappush(self.waiting, Waiter(self.now, len(self.called) + len(self.waiting), subject))

    @property
    def budget(self) -> Budget:
        self.used_at = {who: at for who, at in self.used_at.items() if at + WINDOW_S > self.now}
        return Budget(self.limit, len(self.used_at), sum(one.booked for one in self.waiting))

    def works(self, batch_max: int) -> None:
        """Judges what is due, in batches as the sender makes them, until nothing is due."""
        while self.waiting and self.waiting[0].due_at <= self.now:
            budget = self.budget
            batch: list[Waiter] = []
            while self.waiting and self.waiting[0].due_at <= self.now and len(batch) < batch_max:
                batch.append(heapq.heappop(self.waiting))
            asks = [Ask(one.subject, 0, one.subject not in self.used_at, one.booked) for one in batch]
            expiries = sorted(at + WINDOW_S for at in self.used_at.values())
            for one, place in zip(batch, judge(budget, asks), strict=True):
                self.judged += 1
                if place is None:
                    self.used_at[one.subject] = self.now
                    self.called.append((self.now, one.arrived, one.subject))
                    continue
                found = cycle_of(place, lambda _cycle: self.limit)
                assert found is not None
                cycle, nth = found
                first = expiries[nth] if nth < len(expiries) else self.now + WINDOW_S
                again = Waiter(max(first + cycle * WINDOW_S, self.now), one.arrived, one.subject, booked=True)
                heapq.heappush(self.waiting, again)

    def runs_to_the_end(self, batch_max: int = 20) -> None:
        for _ in range(10_000):
            self.works(batch_max)
            if not self.waiting:
                return
            self.now = max(self.now, self.waiting[0].due_at)
        raise AssertionError("a delivery waits for ever")


arrivals = st.lists(
    st.tuples(st.integers(0, 60), st.lists(st.integers(0, 60), min_size=1, max_size=30)),
    min_size=1,
    max_size=8,
)


@given(limit=st.integers(1, 12), batch_max=st.integers(1, 25), waves=arrivals)
def test_never_above_the_limit_in_any_window_and_everybody_goes(
    limit: int, batch_max: int, waves: list[tuple[int, list[int]]]
) -> None:
    ledger = Ledger(limit)
    for pause, people in waves:
        ledger.now += pause
        for person in people:
            ledger.arrives(f"person {person}")
        ledger.works(batch_max)
    ledger.runs_to_the_end(batch_max)
    assert len(ledger.called) == sum(len(people) for _, people in waves)
    for start, *_ in ledger.called:
        window = {who for at, _, who in ledger.called if start <= at < start + WINDOW_S}
        assert len(window) <= limit


@given(limit=st.integers(1, 12), batch_max=st.integers(1, 25), waves=st.lists(st.integers(1, 30), max_size=6))
def test_of_different_people_the_first_goes_first_and_each_is_judged_about_twice(
    limit: int, batch_max: int, waves: list[int]
) -> None:
    ledger = Ledger(limit)
    count = 0
    for wave in waves:
        for _ in range(wave):
            ledger.arrives(f"person {count}")
            count += 1
        ledger.works(batch_max)
        ledger.now += WINDOW_S / 8
    ledger.runs_to_the_end(batch_max)
    assert [arrived for _, arrived, _ in ledger.called] == list(range(count))
    assert ledger.judged <= 2 * count


@given(limit=st.integers(1, 90), people=st.integers(1, 400))
@settings(max_examples=25)
def test_the_forecast_is_what_happens(limit: int, people: int) -> None:
    ledger = Ledger(limit)
    for person in range(people):
        ledger.arrives(f"person {person}")
    place = last_place(ledger.budget, people)
    found = None if place is None else cycle_of(place, lambda _cycle: limit)
    forecast_s = 0.0 if found is None else WINDOW_S * (found[0] + 1)
    ledger.runs_to_the_end(200)
    assert abs(ledger.now - forecast_s) <= 0.05 * forecast_s


def test_who_is_in_the_window_already_costs_nothing_and_one_person_one_place() -> None:
    asks = [
        Ask("new", 0, costs=True, booked=False),
        Ask("counted", 0, costs=False, booked=False),
        Ask("new", 0, costs=True, booked=False),
        Ask("other", 0, costs=True, booked=False),
    ]
    assert judge(Budget(limit=10, used=9), asks) == [None, None, None, 0]


def test_a_higher_priority_takes_the_free_place_and_who_lost_it_is_the_next() -> None:
    urgent, first = Ask("urgent", 5, costs=True, booked=False), Ask("first", 0, costs=True, booked=True)
    assert judge(Budget(10, 9, booked=3), [urgent, first]) == [None, 0]
    assert judge(Budget(10, 9, booked=3, booked_priority=5), [urgent, first]) == [2, None]


def test_a_lowered_limit_lets_the_surplus_leave_first() -> None:
    assert judge(Budget(limit=10, used=14), [Ask("a", 0, costs=True, booked=False)]) == [4]
    assert last_place(Budget(limit=10, used=14), 3) == 6


def test_a_limit_of_none_is_never_reached_and_one_that_grows_is_counted_by_day() -> None:
    assert cycle_of(0, lambda _cycle: 0) is None
    curve = [20, 50, 100]
    assert [limit_on(day, curve) for day in (-1, 0, 1, 2, 9)] == [20, 20, 50, 100, 100]
    assert cycle_of(20 + 50 + 7, lambda cycle: limit_on(cycle, curve)) == (2, 7)

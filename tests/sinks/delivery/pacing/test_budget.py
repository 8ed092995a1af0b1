"""A budget on a clock that the test moves: never above its limit in any window, first in first out, and none
waits for ever. The forecast is what happens.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.delivery.pacing.budget import Ask, Budget, cycle_of, judge, last_place, limit_on

WINDOW_S = 100.0


@dataclass(order=True)
class Waiter:
    """A delivery."""

    due_at: float
    arrived: int
    subject: str = field(compare=False)
    booked: bool = field(default=False, compare=False)
    priority: int = field(default=0, compare=False)


class Ledger:
    """What the ledger keeps of one budget, as plain as can be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.now = 0.0
        self.used_at: dict[str, float] = {}
        self.waiting: list[Waiter] = []
        self.called: list[tuple[float, int, str]] = []
        self.judged = 0

    def arrives(self, subject: str, priority: int = 0) -> None:
        arrived = len(self.called) + len(self.waiting)
        heapq.heappush(self.waiting, Waiter(self.now, arrived, subject, priority=priority))

    @property
    def budget(self) -> Budget:
        self.used_at = {who: at for who, at in self.used_at.items() if at + WINDOW_S > self.now}
        booked = Counter(one.priority for one in self.waiting if one.booked)
        return Budget(self.limit, len(self.used_at), booked)

    def before(self, one: Waiter, queue: list[Waiter]) -> int:
        return sum(o.booked and (-o.priority, o.arrived) < (-one.priority, one.arrived) for o in queue)

    def works(self, batch_max: int) -> None:
        """Judges what is due, in batches as the sender makes them, until nothing is due."""
        while self.waiting and self.waiting[0].due_at <= self.now:
            budget, queue = self.budget, list(self.waiting)
            due: list[Waiter] = []
            while self.waiting and self.waiting[0].due_at <= self.now:
                due.append(heapq.heappop(self.waiting))
            # In the order in which a claim returns those that are due.
            due.sort(key=lambda one: (-one.priority, one.due_at, one.arrived))
            batch = due[:batch_max]
            for one in due[batch_max:]:
                heapq.heappush(self.waiting, one)
            asks = [
                Ask(
                    *(one.subject, one.priority, one.subject not in self.used_at),
                    *(one.booked, self.before(one, queue) if one.booked else 0),
                )
                for one in batch
            ]
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
                due_at = max(first + cycle * WINDOW_S, self.now)
                heapq.heappush(self.waiting, replace(one, due_at=due_at, booked=True))

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


@given(
    limit=st.integers(1, 12),
    batch_max=st.integers(1, 25),
    waiting=st.integers(0, 60),
    urgent=st.integers(1, 40),
)
def test_an_urgent_campaign_takes_the_next_places_of_a_budget_that_is_used_up(
    limit: int, batch_max: int, waiting: int, urgent: int
) -> None:
    ledger = Ledger(limit)
    for person in range(limit + waiting):
        ledger.arrives(f"person {person}")
    ledger.works(batch_max)
    ledger.now += WINDOW_S / 2
    for person in range(urgent):
        ledger.arrives(f"urgent {person}", priority=5)
    ledger.runs_to_the_end(batch_max)
    order = [who.split()[0] for _, _, who in ledger.called]
    assert order == ["person"] * limit + ["urgent"] * urgent + ["person"] * waiting
    assert ledger.judged <= 3 * len(order)


def test_a_higher_priority_takes_the_free_place_and_who_lost_it_is_the_next() -> None:
    urgent = Ask("urgent", 5, costs=True, booked=False)
    first = Ask("first", 0, costs=True, booked=True)
    assert judge(Budget(10, 9, booked={0: 3}), [urgent, first]) == [None, 0]
    assert judge(Budget(10, 9, booked={0: 1, 5: 2}), [urgent, first]) == [1, None]


def test_without_a_free_place_a_higher_priority_is_before_the_lower_ones_of_the_queue() -> None:
    urgent = Ask("urgent", 5, costs=True, booked=False)
    first = Ask("first", 0, costs=True, booked=True, before=4)
    assert judge(Budget(10, 10, booked={0: 700}), [urgent]) == [0]
    assert judge(Budget(10, 10, booked={0: 700, 5: 3, 9: 1}), [urgent, first]) == [4, 4]


def test_a_lowered_limit_lets_the_surplus_leave_first() -> None:
    assert judge(Budget(limit=10, used=14), [Ask("a", 0, costs=True, booked=False)]) == [4]
    assert last_place(Budget(limit=10, used=14), 3) == 6


def test_a_limit_of_none_is_never_reached_and_one_that_grows_is_counted_by_day() -> None:
    assert cycle_of(0, lambda _cycle: 0) is None
    curve = [20, 50, 100]
    assert [limit_on(day, curve) for day in (-1, 0, 1, 2, 9)] == [20, 20, 50, 100, 100]
    assert cycle_of(20 + 50 + 7, lambda cycle: limit_on(cycle, curve)) == (2, 7)

"""Claims fit what the numbers send: a simulation of numbers at work, on a clock that the test moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.pacing.claims import Room, claim_places, room_of
from sinks.delivery.pacing.limiter import Limiter, Pace, Ticket

POLL_S = 0.1
PUBLISHED_AFTER_S = 0.3  # from a claim until its events are in Kafka
CALL_S = 0.15
QUEUE_WAIT_MAX_S = 15.0
BATCH_MAX = 100
IN_FLIGHT_MAX = 10


def limiter_of(pace: Pace, clock: Callable[[], float]) -> Limiter[int]:
    return Limiter(pace=pace, in_flight_max=IN_FLIGHT_MAX, queue_wait_max_s=QUEUE_WAIT_MAX_S, clock=clock)


@dataclass
class Scene:
    """Numbers that share a backlog without end; `sent` and `returned` are counts."""

    paces: list[Pace]
    stuck: frozenset[int] = frozenset()  # numbers whose calls never end
    now: float = 0.0
    sent: Counter[int] = field(default_factory=Counter)
    leased: int = 0
    returned: int = 0

    def __post_init__(self) -> None:
        self.limiters: list[Limiter[int]] = [
            Limiter(
                pace=pace,
                in_flight_max=IN_FLIGHT_MAX,
                queue_wait_max_s=QUEUE_WAIT_MAX_S,
                clock=lambda: self.now,
            )
            for pace in self.paces
        ]
        self._calls: list[tuple[float, int]] = []
        self._gate: list[tuple[float, list[int]]] = []

    def rooms(self) -> list[Room[int]]:
        return [
            room_of(number, limiter, pending=self._pending(number), lease_left_s=12.0, batch_max=BATCH_MAX)
            for number, limiter in enumerate(self.limiters)
        ]

    def run(self, seconds: float) -> None:
        steps = int(seconds / POLL_S)
        for _ in range(steps):
            self._step()
            for _ in range(10):  # calls begin and end between polls
                self._serve()
                self.now += POLL_S / 10

    def _pending(self, number: int) -> int:
        return sum(numbers.count(number) for _, numbers in self._gate)

    def _step(self) -> None:
        rooms = self.rooms()
        if places := claim_places(rooms):
            self.leased += sum(places.values())
            self._gate.append((self.now + PUBLISHED_AFTER_S, list(Counter(places).elements())))
        while self._gate and self._gate[0][0] <= self.now:
            for number in self._gate.pop(0)[1]:
                self.limiters[number].offer(number)
        self.returned += sum(len(limiter.expired()) for limiter in self.limiters)

    def _serve(self) -> None:
        for at, number in [call for call in self._calls if call[0] <= self.now]:
            self._calls.remove((at, number))
            self.limiters[number].ended()
            self.limiters[number].freed()
            self.sent[number] += 1
        for number, limiter in enumerate(self.limiters):
            tickets: list[Ticket[int]] = limiter.take()
            end = float("inf") if number in self.stuck else self.now + CALL_S
            self._calls += [(end, number) for _ in tickets]


def at_most(pace: Pace) -> float:
    """Messages a second: the window counts from a call's end, so it holds on the provider's clock, too."""
    call_s = CALL_S + POLL_S / 10
    return min(pace.messages_max / (pace.window_s + call_s), IN_FLIGHT_MAX / call_s)


@pytest.mark.parametrize("a_minute", [1, 15, 40, 90])
def test_a_slow_number_leases_what_it_sends_and_returns_nothing(a_minute: int) -> None:
    scene = Scene([Pace.per_minute(a_minute)])
    minutes = 10
    scene.run(minutes * 60)
    assert scene.returned == 0
    assert 0.95 * at_most(scene.paces[0]) * minutes * 60 <= scene.sent[0] <= a_minute * minutes + 1
    assert scene.leased - scene.sent[0] <= 4


def test_a_fast_number_keeps_its_pace() -> None:
    scene = Scene([Pace(80)])
    scene.run(60)
    assert scene.sent[0] >= 0.95 * at_most(Pace(80)) * 60
    assert scene.returned == 0


def test_numbers_of_one_tenant_each_send_at_their_own_pace() -> None:
    scene = Scene([Pace(40), Pace.per_minute(15), Pace(40), Pace.per_minute(30)])
    scene.run(120)
    assert scene.returned == 0
    for number, pace in enumerate(scene.paces):
        assert scene.sent[number] >= 0.95 * at_most(pace) * 120 - 1


def test_numbers_whose_calls_hang_do_not_keep_another_from_claiming() -> None:
    scene = Scene([Pace(80), Pace(80), Pace(80), Pace(5)], stuck=frozenset({0, 1, 2}))
    scene.run(60)
    assert scene.sent[3] >= 0.95 * at_most(Pace(5)) * 60


def test_no_claim_without_a_lease_or_during_a_long_pause() -> None:
    limiter: Limiter[int] = Limiter(
        pace=Pace(80), in_flight_max=IN_FLIGHT_MAX, queue_wait_max_s=15, clock=lambda: 0.0
    )
    assert room_of(0, limiter, pending=0, lease_left_s=-1, batch_max=BATCH_MAX).room == 0
    assert room_of(0, limiter, pending=0, lease_left_s=0.5, batch_max=BATCH_MAX).room == 40
    assert room_of(0, limiter, pending=0, lease_left_s=1.0, batch_max=BATCH_MAX).room == 80
    assert room_of(0, limiter, pending=0, lease_left_s=9, batch_max=BATCH_MAX).room == BATCH_MAX
    limiter.pause_until(30)
    assert room_of(0, limiter, pending=0, lease_left_s=9, batch_max=BATCH_MAX).room == 0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=6))
def test_once_one_is_needy_each_number_gets_what_it_has_room_for(numbers: list[tuple[int, int]]) -> None:
    rooms = [Room(number, room, wanted) for number, (room, wanted) in enumerate(numbers)]
    needy = any(room >= max(1, wanted // 2) for room, wanted in numbers)
    assert claim_places(rooms) == ({one.worker: one.room for one in rooms if one.room} if needy else {})


def test_a_pace_a_minute_is_spread_evenly() -> None:
    assert Pace.per_minute(15) == Pace(1, 4.0)
    assert Pace.per_minute(150) == Pace(2, 0.8)
    assert Pace.per_minute(4800) == Pace(80, 1.0)

"""Keeps quizzes and tokens in memory, followed on their topics; the brokers may start after the edge."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.runtime.reference_data import ReferenceDataFollower, ReferenceDataNotRead

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 60.0
RETRY_S = 1.0
REACHED_POLL_S = 0.05

MakeFollower = Callable[[], ReferenceDataFollower[Any]]


@dataclass(frozen=True)
class State:
    """Of the data of one topic, by its role. `changed_s_ago`: the newest record, if one was read."""

    role: str
    problem: str | None
    lag_records: int | None = None
    changed_s_ago: float | None = None


class ReferenceData:
    """The edge's reference data. Until it has caught up, no completion is accepted.

    Before that, a quiz that does not exist looks the same as one that has not been read.
    """

    def __init__(self, followers: Mapping[str, MakeFollower], reached: Callable[[], bool]) -> None:
        """By role. `reached` returns whether the brokers answer; no follower starts before that."""
        self._followers = [_Kept(role, make, reached) for role, make in followers.items()]

    def start(self) -> None:
        for follower in self._followers:
            follower.start()

    def stop(self) -> None:
        """Return at once: the followers' threads commit nothing, and end by themselves."""
        for follower in self._followers:
            follower.stopping.set()

    @property
    def caught_up(self) -> bool:
        return all(follower.caught_up for follower in self._followers)

    @property
    def problems(self) -> tuple[str, ...]:
        """The reasons why the data is not complete, for readiness."""
        return tuple(follower.problem for follower in self._followers if follower.problem is not None)

    @property
    def states(self) -> tuple[State, ...]:
        return tuple(follower.state for follower in self._followers)


class _Kept:
    def __init__(self, role: str, make: MakeFollower, reached: Callable[[], bool]) -> None:
        self._role = role
        self._make = make
        self._reached = reached
        self._follower: ReferenceDataFollower[Any] | None = None
        self._not_read = "reference data: not read yet"
        self.stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._read, name="reference-data", daemon=True).start()

    @property
    def caught_up(self) -> bool:
        return self._follower is not None and self._follower.caught_up

    @property
    def problem(self) -> str | None:
        return self._not_read if self._follower is None else self._follower.problem

    @property
    def state(self) -> State:
        follower = self._follower
        if follower is None:
            return State(self._role, self._not_read)
        return State(self._role, follower.problem, follower.lag_records, follower.changed_s_ago)

    def _read(self) -> None:
        while not self.stopping.is_set():
            if not self._reached():
                self.stopping.wait(REACHED_POLL_S)
                continue
            follower = self._make()
            try:
                follower.read_to_end(READ_TIMEOUT_S)
            except ReferenceDataNotRead as error:
                self._not_read = str(error)
                log.warning("%s; retrying in %g s", error, RETRY_S)
                follower.stop()
                self.stopping.wait(RETRY_S)
                continue
            follower.start()
            self._follower = follower
            self.stopping.wait()
            follower.stop()

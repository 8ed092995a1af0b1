"""Measures subjects of several sizes in turns, so that other load on the machine meets all of them alike."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from benchmarks.measure.figures import Spread

Size = TypeVar("Size")
QUIET_LOOK_S = 0.25
QUIET_CPU_RATIO_MAX = 0.02  # of a core, used by an idle process
QUIET_TIMEOUT_S = 120.0


class Subject(Protocol):
    def ready(self) -> Callable[[], int]:
        """Prepares a round, uncounted. The function that it returns is counted, and returns its records."""
        ...


class Point(msgspec.Struct, frozen=True):
    """`us`: CPU microseconds a record, all threads of the process; median and extremes of the rounds."""

    size: int
    us: Spread


class Curve(msgspec.Struct, frozen=True):
    """`bend`: the largest of the medians over the smallest. `flat`: within the limit; None: not judged."""

    name: str
    grows: str
    points: list[Point]
    bend: float
    flat: bool | None


def interleaved(
    subjects: Mapping[Size, Subject],
    rounds: int,
    rng: random.Random,
    cpu_s: Callable[[], float] = time.process_time,
    log: Callable[[str], None] = lambda _line: None,
) -> dict[Size, list[float]]:
    """CPU microseconds a record, of each subject in each round; an uncounted round warms all up before."""
    used_us: dict[Size, list[float]] = {size: [] for size in subjects}
    order = list(subjects)
    gc.collect()
    gc.freeze()  # as in the deployment's processes: these objects live on
    for turn in range(rounds + 1):
        rng.shuffle(order)
        for size in order:
            work = subjects[size].ready()
            began_s = cpu_s()
            records = work()
            used_s = cpu_s() - began_s
            if turn:
                used_us[size].append(1e6 * used_s / records)
        if turn:
            log(f"round {turn} of {rounds}")
    gc.unfreeze()
    return used_us


def curve(name: str, grows: str, used_us: Mapping[int, Sequence[float]], bend_max: float | None) -> Curve:
    """`bend_max` None: the curve is shown, not judged."""
    points = [Point(size, Spread.of(used)) for size, used in sorted(used_us.items())]
    medians = [point.us.median for point in points]
    bend = round(max(medians) / min(medians), 3)
    return Curve(name, grows, points, bend, None if bend_max is None else bend <= bend_max)


def until_quiet(
    cpu_s: Callable[[], float] = time.process_time,
    sleep: Callable[[float], None] = time.sleep,
    timeout_s: float = QUIET_TIMEOUT_S,
) -> bool:
    """Waits until background threads (RocksDB's compactions) are idle; False: they were not in time."""
    for _ in range(int(timeout_s / QUIET_LOOK_S)):
        before_s = cpu_s()
        sleep(QUIET_LOOK_S)
        if cpu_s() - before_s <= QUIET_CPU_RATIO_MAX * QUIET_LOOK_S:
            return True
    return False

"""Sliding windows in this process's memory, by the same rules as `sliding_windows.lua`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BUCKETS = 100  # as in the script
SLOTS = BUCKETS + 1
REGION = "region"  # the rule that only the edges of one region share


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `limit` requests of one key in any `window_s`. `about`: what is limited, for a problem."""

    name: str
    limit: int
    window_s: int
    about: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`refusing`: the first rule that refuses, and when it no longer does; or None.

    `remaining`: requests left of each key, in their order; of a refusal nothing follows from it.
    """

    refusing: Rule | None
    retry_after_s: float
    remaining: Sequence[int]


Keys = tuple[tuple[Rule, str], ...]


class _Window:
    __slots__ = ("bucket", "counts", "total")

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket
        self.total = 0
        self.counts: dict[int, int] = {}

    @property
    def oldest(self) -> int:
        return min((bucket for bucket, count in self.counts.items() if count > 0), default=self.bucket)

    def advance(self, bucket: int) -> None:
        if bucket <= self.bucket:
            return
        self.bucket = bucket
        left = [old for old in self.counts if old <= bucket - SLOTS]
        for old in left:
            self.total -= self.counts.pop(old)

    def count(self) -> None:
        self.counts[self.bucket] = self.counts.get(self.bucket, 0) + 1
        self.total += 1

    def take_back(self) -> None:
        """From the newest bucket: the request may have been counted in the one before."""
        self.counts[self.bucket] = self.counts.get(self.bucket, 0) - 1
        self.total -= 1


class LocalWindows:
    """The windows of at most `keys_max` keys; the ones that have been used least recently are forgotten.

    Each process applies its share of a limit, at least 1. Two generations, as in `key_memory`.
    """

    def __init__(self, keys_max: int, clock: Callable[[], float]) -> None:
        self._generation_max = max(1, keys_max // 2)
        self._clock = clock
        self._young: dict[tuple[str, str], _Window] = {}
        self._old: dict[tuple[str, str], _Window] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def decide(self, keys: Keys, processes: int = 1, in_region: int | None = None) -> Decision:
        """`in_region`: the processes that share the limit of this one's region; all of them if not given."""
        now_s = self._clock()
        refusing: Rule | None = None
        retry_after_s = 0.0
        windows = [self._window(rule, key, now_s) for rule, key in keys]
        here = processes if in_region is None else in_region
        limits = [max(1, rule.limit // (here if rule.name == REGION else processes)) for rule, _key in keys]
        for (rule, _key), window, limit in zip(keys, windows, limits, strict=True):
            if window.total >= limit:
                refusing = rule
                retry_after_s = (window.oldest + SLOTS) * rule.window_s / BUCKETS - now_s
                break
        if refusing is None:
            for window in windows:
                window.count()
        remaining = [max(0, limit - window.total) for limit, window in zip(limits, windows, strict=True)]
        return Decision(refusing, retry_after_s, remaining)

    def give_back(self, rule: Rule, key: str) -> None:
        """Take one request off again, if one is counted."""
        window = self._window(rule, key, self._clock())
        if window.total > 0:
            window.take_back()

    def _window(self, rule: Rule, key: str, now_s: float) -> _Window:
        name = (rule.name, key)
        bucket = math.floor(now_s * BUCKETS / rule.window_s)
        window = self._young.get(name)
        if window is None:
            if len(self._young) >= self._generation_max:
                self._old, self._young = self._young, {}
            window = self._old.pop(name, None) or _Window(bucket)
            self._young[name] = window
        window.advance(bucket)
        return window

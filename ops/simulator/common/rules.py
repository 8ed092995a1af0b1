"""Misbehaviour on order: which calls it hits, and what happens to them."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from ops.simulator.common.numbers import RULES_MAX

Deed = Literal["answer", "error", "hang", "close", "reset", "half", "garbage", "raw"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first rule that fits a call decides about it.

    Of those `every` n-th one is hit, and of these a random part, `ratio`, decided by the simulator's seed.

    `number`, `to` and `containing` (a text of the body, as it is in JSON) None fit all; the first `skip`
    fitting calls are left alone, the next `count` (None: all) hit.

    - `answer`: as if there were no rule (with `delay_s`, `statuses`).
    - `error`: refuse with `code` (and HTTP `status`).
    - `hang`: never answer. `close`: close before the body is read, unrecorded. `reset`: read, then reset.
    `half`: half of an answer, then close. `garbage`: an answer that is no JSON, with HTTP `status`.
    - `raw`: this `body` with HTTP `status`, and `Retry-After` where `retry_after_s` is given.

    `taken`: the message goes out all the same (an id is given, statuses follow), whatever is answered.
    """

    do: Deed
    name: str = ""
    number: str | None = None
    to: str | None = None
    containing: str | None = None
    skip: int = 0
    count: int | None = None
    every: int = 1
    ratio: float = 1.0
    code: int = 131000
    status: int | None = None
    delay_s: float = 0.0
    taken: bool = False
    statuses: tuple[str, ...] | None = None  # instead of sent, delivered, read; () for none
    retry_after_min: int | None = None  # in the usage header of an `error`
    body: str = ""
    retry_after_s: int | None = None


class Rules:
    """At most RULES_MAX, in the order in which they were made."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rules: list[Rule] = []
        self._seen: list[int] = []  # fitting calls so far, hit or skipped

    def add(self, rule: Rule) -> bool:
        """False if there are too many."""
        if len(self._rules) >= RULES_MAX:
            return False
        self._rules.append(rule)
        self._seen.append(0)
        return True

    def clear(self) -> None:
        self._rules, self._seen = [], []

    def listed(self) -> list[dict[str, object]]:
        return [
            {**msgspec.to_builtins(rule), "seen": seen}
            for rule, seen in zip(self._rules, self._seen, strict=True)
        ]

    def decide(self, number: str, to: str | None, body: bytes = b"") -> Rule | None:
        """The rule that hits this call. `to` None: only the head is known yet, and only `close` rules
        apply.
        """
        for position, rule in enumerate(self._rules):
            if (rule.do == "close") != (to is None):
                continue
            if (rule.number not in (None, number)) or (to is not None and rule.to not in (None, to)):
                continue
            if rule.containing is not None and to is not None and rule.containing.encode() not in body:
                continue
            every = max(1, rule.every)
            if rule.count is not None and self._seen[position] >= rule.skip + rule.count * every:
                continue
            self._seen[position] += 1
            fits = self._seen[position] - rule.skip
            if fits > 0 and fits % every == 0 and (rule.ratio >= 1 or self._rng.random() < rule.ratio):
                return rule
        return None

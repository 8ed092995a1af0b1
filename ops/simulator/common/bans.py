"""Which session number is banned: too fast, too regular, too much for a new number. Pure.

No source states these values: they are folklore, and twice as generous as what the sender does by default, so
that `strictness` 2.0 still bans no number that keeps to it.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field

MINUTE_S = 60.0
DAY_S = 86_400.0
MESSAGES_PER_MINUTE_MAX = 40
GAPS_JUDGED = 20
GAP_VARIATION_MIN_RATIO = 0.03  # standard deviation to mean, of the last gaps: below it is a metronome
MESSAGES_PER_DAY_MAX = (40, 40, 100, 100, 240, 240, 600, 600, 1_200, 1_200, 2_000)  # by day since the first


@dataclass
class _Number:
    first_at: float
    sent_at: deque[float] = field(default_factory=deque)  # of the last day


class BanRules:
    """Judges every message that a session number sends."""

    def __init__(self) -> None:
        self._numbers: dict[str, _Number] = {}
        self.banned: dict[str, str] = {}

    def sent(self, number: str, at: float, strictness: float) -> str | None:
        """The reason for which the number is banned from now on; None if it is not. 0 bans none."""
        if strictness <= 0 or number in self.banned:
            return self.banned.get(number)
        known = self._numbers.setdefault(number, _Number(at))
        known.sent_at.append(at)
        while known.sent_at[0] <= at - DAY_S:
            known.sent_at.popleft()
        reason = _reason(known, at, strictness)
        if reason is not None:
            self.banned[number] = reason
        return reason


def _reason(known: _Number, at: float, strictness: float) -> str | None:
    recent = [one for one in list(known.sent_at)[-MESSAGES_PER_MINUTE_MAX - 1 :] if one > at - MINUTE_S]
    if len(recent) > MESSAGES_PER_MINUTE_MAX / strictness:
        return f"rate: {len(recent)} messages in a minute"
    day = min(int((at - known.first_at) // DAY_S), len(MESSAGES_PER_DAY_MAX) - 1)
    if len(known.sent_at) > MESSAGES_PER_DAY_MAX[day] / strictness:
        return f"warm-up: {len(known.sent_at)} messages in 24 h on day {day + 1}"
    last = list(known.sent_at)[-GAPS_JUDGED - 1 :]
    if len(last) > GAPS_JUDGED and _variation(last) < GAP_VARIATION_MIN_RATIO * strictness:
        return f"regularity: {GAPS_JUDGED} gaps alike"
    return None


def _variation(times: list[float]) -> float:
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    if mean <= 0:
        return 0.0
    return math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean

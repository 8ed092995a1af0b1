"""The store in memory: of a process while Valkey is unavailable, and the reference of its script."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable

import datasketches

from ingest_api.abuse.baselines import Measured
from ingest_api.abuse.store import BASELINE_HALF_LIFE_S, TALLY_HALF_LIVES, Exchanged, Position, Report
from ingest_api.abuse.tally import Push, Tally
from pipeline.abuse.states import Cause, Kind, Verdict
from pipeline.topology.file import Abuse

HLL_SIZE_LOG2 = 12  # registers: an error of 1.6 %
_EPOCHS = itertools.count(1)


class _Sum:
    __slots__ = ("at_ms", "in_second", "phones", "phones_until_ms", "second", "values")

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.second = 0
        self.in_second = 0
        self.values = [0.0] * 10
        self.phones: datasketches.hll_sketch | None = None
        self.phones_until_ms = 0


class MemoryStore:
    """Bounded: what changed longest ago is forgotten, but no decision of an operator.

    `now_ms` as in Verdict.
    """

    def __init__(self, limits: Abuse, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self._sums: OrderedDict[str, _Sum] = OrderedDict()
        self._baselines: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._verdicts: OrderedDict[str, tuple[int, Verdict]] = OrderedDict()
        self._last = 0
        self._epoch = str(next(_EPOCHS))

    async def exchange(self, report: Report, since: Position) -> Exchanged:
        now_ms = self._now_ms()
        tallies = [self._add(push, now_ms) for push in report.pushes]
        baselines = {quiz: self._learn(quiz, new, now_ms) for quiz, new in report.baselines.items()}
        lost = since.number > self._last or since.epoch not in ("", self._epoch)
        known = 0 if lost else since.number
        changes: dict[str, Verdict | None] = {
            subject: verdict for subject, (number, verdict) in self._verdicts.items() if number > known
        }
        return Exchanged(tallies, baselines, changes, Position(self._last, self._epoch), lost)

    async def find(self, subject: str) -> Verdict | None:
        stored = self._verdicts.get(subject)
        return None if stored is None else stored[1]

    async def put(self, verdict: Verdict, before: Verdict | None, now_ms: int) -> bool:
        stored = self._verdicts.get(verdict.subject)
        if stored is not None and stored[1] != before:
            return False
        self._last += 1
        self._verdicts[verdict.subject] = (self._last, verdict)
        self._verdicts.move_to_end(verdict.subject)
        if len(self._verdicts) > self._limits.verdicts_max:
            oldest = next((name for name, (_, one) in self._verdicts.items() if _is_automatic(one)), None)
            if oldest is not None:
                del self._verdicts[oldest]
        return True

    def sizes(self) -> dict[str, int]:
        return {"sums": len(self._sums), "quizzes": len(self._baselines), "verdicts": len(self._verdicts)}

    def _add(self, push: Push, now_ms: int) -> Tally:
        limits = self._limits
        found = self._sums.get(push.subject)
        if found is None or now_ms - found.at_ms > TALLY_HALF_LIVES * limits.half_life_s * 1000:
            found = self._sums[push.subject] = _Sum(now_ms)
        self._sums.move_to_end(push.subject)
        if len(self._sums) > limits.alone_subjects_max:
            self._sums.popitem(last=False)
        now_ms = max(now_ms, found.at_ms)
        left = 0.5 ** ((now_ms - found.at_ms) / (limits.half_life_s * 1000))
        counts = push.counts
        added = (
            *(counts.requests, counts.completions, counts.alike, counts.neighbours),
            *(counts.repeats, counts.invalid, counts.unanswered, counts.solved),
            *self._seconds(found, push.rejected, now_ms),
        )
        found.values = [value * left + more for value, more in zip(found.values, added, strict=True)]
        found.at_ms = now_ms
        values = [*found.values, self._phones(found, push, now_ms)]
        return Tally(*values)

    def _seconds(self, found: _Sum, rejected: int, now_ms: int) -> tuple[int, int]:
        """Return whether this second has just become a pressed one, and a flooded one."""
        second = now_ms // 1000
        if second != found.second:
            found.second, found.in_second = second, 0
        before, found.in_second = found.in_second, found.in_second + rejected
        pressed, flooded = self._limits.pressed_per_s, self._limits.flooded_per_s
        return before < pressed <= found.in_second, before < flooded <= found.in_second

    def _phones(self, found: _Sum, push: Push, now_ms: int) -> float:
        if not push.subject.startswith(Kind.ADDRESS.value):
            return 0.0
        if found.phones is None or now_ms >= found.phones_until_ms:
            if not push.contacts:
                return 0.0
            found.phones = datasketches.hll_sketch(HLL_SIZE_LOG2, datasketches.tgt_hll_type.HLL_4)
            found.phones_until_ms = now_ms + self._limits.phones_window_s * 1000
        for contact in push.contacts:
            found.phones.update(contact)
        return float(round(found.phones.get_estimate()))

    def _learn(self, quiz_id: str, new: Measured, now_ms: int) -> Measured:
        at_ms, same, pairs = self._baselines.get(quiz_id, (now_ms, 0.0, 0.0))
        left = 0.5 ** (max(0, now_ms - at_ms) / (BASELINE_HALF_LIFE_S * 1000))
        measured = (same * left + new[0], pairs * left + new[1])
        if new[1]:
            self._baselines[quiz_id] = (max(now_ms, at_ms), *measured)
            self._baselines.move_to_end(quiz_id)
            if len(self._baselines) > self._limits.quizzes_max:
                self._baselines.popitem(last=False)
        return measured


def _is_automatic(verdict: Verdict) -> bool:
    return verdict.cause is not Cause.OPERATOR

"""Finds the campaigns whose conditions can hold, without evaluating each of them.

Every campaign is indexed by the one condition that fewest others share: an equality by its value, a range of
numbers in a tree of ranges, else the presence of its field. The result is a superset: the caller evaluates
all conditions. Campaigns that have only `absent` conditions, or none, are in every result.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.campaigns.conditions import Number, Scalar, Subject, Test
from pipeline.campaigns.intervals import Intervals
from schemas.records import Campaign

FOREVER_MS = 1 << 62
_INFINITY = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class InForce:
    """A version of a campaign and its time in force: accepted_at in [from_ms, until_ms)."""

    campaign: Campaign
    tests: tuple[Test, ...]
    from_ms: int
    until_ms: int

    def holds(self, subject: Subject) -> bool:
        completion = subject.completion
        if not self.from_ms <= completion.accepted_at < self.until_ms:
            return False
        if self.campaign.tenant_id != completion.tenant_id:
            return False
        return all(test.holds(subject) for test in self.tests)


class CampaignIndex:
    """Immutable once built."""

    def __init__(self, entries: Iterable[InForce]) -> None:
        entries = list(entries)
        self._equal: dict[str, dict[Scalar, list[InForce]]] = {}
        self._present: dict[str, list[InForce]] = {}
        self._always: list[InForce] = []
        ranges: defaultdict[str, list[tuple[float, float, InForce]]] = defaultdict(list)
        sharing = _sharing(entries)
        for entry in entries:
            test = min(entry.tests, key=lambda test: _cost(test, sharing, len(entries)), default=None)
            if test is None or test.op == "absent":
                self._always.append(entry)
            elif test.op in ("eq", "one_of"):
                values = self._equal.setdefault(test.field, {})
                for target in test.targets:
                    values.setdefault(target, []).append(entry)
            elif test.op in ("ne", "exists"):
                self._present.setdefault(test.field, []).append(entry)
            elif (span := _span(entry.tests, test.field)) is not None:
                ranges[test.field].append((*span, entry))
        self._ranges = {field: Intervals(found) for field, found in ranges.items()}
        self._fields = tuple({*self._equal, *self._present, *self._ranges})

    def candidates(self, subject: Subject) -> list[InForce]:
        """Every entry whose conditions can hold for `subject`; an entry may come twice."""
        found = list(self._always)
        for field in self._fields:
            values = subject.values(field)
            if values is None:
                continue
            found += self._present.get(field, ())
            if (equal := self._equal.get(field)) is not None:
                for value in values:
                    found += equal.get(value, ())
            if (tree := self._ranges.get(field)) is not None and len(values) == 1:
                value = values[0]
                if not isinstance(value, str):
                    found += tree.holding(value)
        return found


def _sharing(entries: list[InForce]) -> Counter[tuple[str, Scalar]]:
    return Counter(
        (test.field, target) for entry in entries for test in entry.tests for target in test.targets
    )


def _cost(test: Test, sharing: Counter[tuple[str, Scalar]], entries: int) -> float:
    """An estimate of the number of entries that a look-up by this condition finds."""
    if test.op in ("eq", "one_of"):
        return max((sharing[test.field, target] for target in test.targets), default=0)
    if test.op == "absent":
        return entries + 2
    if test.op in ("ne", "exists"):
        return entries + 1
    return entries / 4


def _span(tests: tuple[Test, ...], field: str) -> tuple[float, float] | None:
    """The range left by all order conditions on `field`, ends included; None if it is empty."""
    low: Number = -_INFINITY
    high: Number = _INFINITY
    for test in tests:
        if test.field != field or test.op not in ("lt", "lte", "gt", "gte"):
            continue
        if test.bound is None:
            return None
        if test.op in ("gt", "gte"):
            low = max(low, test.bound)
        else:
            high = min(high, test.bound)
    return (low, high) if low <= high else None

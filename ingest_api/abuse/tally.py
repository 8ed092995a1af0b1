"""What is counted of a subject, and the points that follow from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.abuse.states import SOLVED
from pipeline.topology.file import Abuse


class Counts(msgspec.Struct, array_like=True):
    """Of one interval. All but the first two are an excess over what is usual, so they may be negative.

    `solved`: points of the four before `unanswered`, of requests with a ticket.
    """

    requests: float = 0.0
    completions: float = 0.0
    alike: float = 0.0
    neighbours: float = 0.0
    repeats: float = 0.0
    invalid: float = 0.0
    unanswered: float = 0.0
    solved: float = 0.0


class Push(msgspec.Struct, array_like=True):
    """What one process saw of a subject in one interval; `contacts` are keyed hashes of phones."""

    subject: str
    counts: Counts
    rejected: int = 0
    contacts: Sequence[str] = ()


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """The sum over processes and time, in which everything halves every half_life_s; `phones`: distinct."""

    requests: float = 0.0
    completions: float = 0.0
    alike: float = 0.0
    neighbours: float = 0.0
    repeats: float = 0.0
    invalid: float = 0.0
    unanswered: float = 0.0
    solved: float = 0.0
    pressed: float = 0.0
    flooded: float = 0.0
    phones: float = 0.0


def points_of(tally: Tally, limits: Abuse) -> dict[str, float]:
    """Return the points by signal; none is negative.

    What only shows volume is bounded: many people behind one address show it too.
    """
    weights = limits.weights
    points = {
        name: getattr(weights, name) * max(0.0, getattr(tally, name))
        for name in ("alike", "neighbours", "repeats", "invalid", "unanswered", "flooded")
    }
    points[SOLVED] = max(0.0, tally.solved)
    most = float(limits.pressure_points_max)
    points["pressed"] = min(most, weights.pressed * max(0.0, tally.pressed))
    many = tally.phones / limits.phones_max
    points["phones"] = min(most - points["pressed"], weights.phones * many) if many >= 1 else 0.0
    return points


def content_points(counts: Counts, limits: Abuse) -> float:
    """Return the points of what was sent, which may be negative."""
    weights = limits.weights
    return (
        weights.alike * counts.alike
        + weights.neighbours * counts.neighbours
        + weights.repeats * counts.repeats
        + weights.invalid * counts.invalid
    )


def usual_alike(same: float, pairs: float, questions: int, limits: Abuse) -> float:
    """Return how often two completions of a quiz may be alike, 0 to 1.

    What was measured counts against what the number of questions lets expect: at least two equally likely
    answers to each. A quiz that does not name its questions may have one.
    """
    expected = 0.5 ** max(1, questions)
    measured = (same + expected * limits.prior_pairs) / (pairs + limits.prior_pairs)
    return min(1.0, limits.alike_factor * measured)

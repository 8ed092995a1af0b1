"""Where processes add up what they saw: the same in Valkey and in the memory of one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingest_api.abuse.baselines import Measured
from ingest_api.abuse.tally import Push, Tally
from pipeline.abuse.states import Verdict

BASELINE_HALF_LIFE_S = 86_400
BASELINE_KEPT_S = 7 * 86_400
TALLY_HALF_LIVES = 10  # after so many a tally is deleted: a thousandth is left
CHANGES_MAX = 500  # verdicts of one exchange; more follow with the next one


@dataclass(frozen=True)
class Position:
    """The number of the last change that a reader knows, and the life of the memory in which it was."""

    number: int = 0
    epoch: str = ""


BEGINNING = Position()


@dataclass(frozen=True)
class Report:
    """What one process saw in one interval; `baselines` of (0, 0) only ask."""

    pushes: Sequence[Push] = ()
    baselines: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchanged:
    """`tallies`: in the order of the pushes. `position`: of the last change that `changes` has.

    `lost`: the store has forgotten changes that the reader knows: Valkey was restarted without its data. Then
    `changes` are from the beginning.
    """

    tallies: Sequence[Tally]
    baselines: Mapping[str, Measured]
    changes: Mapping[str, Verdict | None]
    position: Position
    lost: bool = False


class Store(Protocol):
    """Raises Unavailable (pipeline.abuse.verdicts) where it does not answer."""

    async def exchange(self, report: Report, since: Position) -> Exchanged:
        """Add the report; return the sums, and the verdicts that changed after `since`."""

    async def find(self, subject: str) -> Verdict | None:
        """Return the stored verdict."""

    async def put(self, verdict: Verdict, before: Verdict | None, now_ms: int) -> bool:
        """Store it if the record is still `before` or is gone; return whether it is stored."""

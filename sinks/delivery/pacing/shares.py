"""Which sender process holds which number: equal shares, with as few moves as possible. Pure.

Every process reckons from the same two tables. A process holds only numbers that it can serve (provider and
secret), so numbers are shared among the processes that can serve the same ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Process(NamedTuple):
    """A live sender process, and what it can serve. `owner` is new at each start."""

    owner: str
    providers: Collection[str]
    credentials: Collection[str]


class Candidate(NamedTuple):
    """A number that may send. `holder` has its lease; None: it is free."""

    number_id: str
    provider: str
    credential: str
    holder: str | None


@dataclass(frozen=True)
class Share:
    """What one process does now: keeps, takes free ones, and gives up (numbers that it holds)."""

    keep: frozenset[str]
    take: frozenset[str]
    give_up: frozenset[str]


def share_of(
    owner: str,
    processes: Sequence[Process],
    numbers: Sequence[Candidate],
    leaving: Collection[str] = frozenset(),
) -> Share:
    """`leaving` are numbers that the process gives up already: it neither keeps nor takes them.

    Within each set of processes that can serve the same numbers, a process may hold the numbers divided by
    the processes. What is left over goes, one each, to those that hold the most already: equal shares stay.
    """
    keep: set[str] = set()
    take: set[str] = set()
    give_up: set[str] = set()
    for owners, group in _groups(processes, numbers).items():
        if owner not in owners:
            continue
        held = sorted(one.number_id for one in group if one.holder == owner and one.number_id not in leaving)
        free = sorted(one.number_id for one in group if one.holder is None and one.number_id not in leaving)
        quota = _quota(owner, owners, group)
        keep.update(held[:quota])
        give_up.update(held[quota:])
        take.update(free[: max(0, quota - len(held))])
    return Share(frozenset(keep), frozenset(take), frozenset(give_up))


def _groups(
    processes: Sequence[Process], numbers: Sequence[Candidate]
) -> dict[tuple[str, ...], list[Candidate]]:
    """The numbers, by the owners that can serve them."""
    groups: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    able: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in numbers:
        kind = (one.provider, one.credential)
        if kind not in able:
            able[kind] = tuple(
                sorted(
                    process.owner
                    for process in processes
                    if one.provider in process.providers and one.credential in process.credentials
                )
            )
        groups[able[kind]].append(one)
    return groups


def _quota(owner: str, owners: Sequence[str], group: Sequence[Candidate]) -> int:
    each, left_over = divmod(len(group), len(owners))
    counts = {each_owner: sum(one.holder == each_owner for one in group) for each_owner in owners}
    ranked = sorted(owners, key=lambda each_owner: (-counts[each_owner], each_owner))
    return each + (ranked.index(owner) < left_over)

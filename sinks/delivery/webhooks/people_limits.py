"""The limit of people in 24 h, as a provider's notice states it among other words. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_TIER = re.compile(r"TIER_([0-9]{1,6})(K?)")
_NUMBER = re.compile(r"[0-9]{1,9}")
_UNLIMITED = frozenset({"TIER_UNLIMITED", "UNLIMITED", "-1"})


class PeopleLimit(NamedTuple):
    """`people_max` None: unlimited."""

    people_max: int | None


def people_limit_of(detail: str) -> PeopleLimit | None:
    """The last limit of the words of a notice, in which the former one comes first; None if there is none."""
    found = None
    for word in detail.split():
        if word in _UNLIMITED:
            found = PeopleLimit(None)
        elif (tier := _TIER.fullmatch(word)) is not None:
            found = PeopleLimit(int(tier[1]) * (1_000 if tier[2] else 1))
        elif _NUMBER.fullmatch(word):
            found = PeopleLimit(int(word))
    return found

"""A short memory of idempotency keys in use, to reject a key that is repeated with other content.

It belongs to one process and is bounded, so it proves a conflict and never the absence of one. A repeat that
is not found is accepted, and is the same completion by its id.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.topology.file import KeyMemory as Limits
from schemas.records import Answer, Consent, Personal

Fingerprint = int


def fingerprint(
    answers: dict[str, Answer], personal: Personal, consent: Consent | None, score: float | None
) -> Fingerprint:
    """Equal for equal contents in any order and notation; the submission time is not part of it.

    64 bits, salted for each process. Different contents may be equal by chance or as Python compares (1, 1.0
    and True), which leaves a conflict undetected and makes none.
    """
    try:
        given = hash(frozenset(answers.items()))
    except TypeError:  # a list of choices
        items = answers.items()
        given = hash(frozenset((q, tuple(a) if isinstance(a, list) else a) for q, a in items))
    return hash((given, personal, consent, score))


class KeyMemory:
    """Completion id -> fingerprint of its content, at most `entries_max` and none older than `age_s`.

    Two generations: the younger becomes the older one when it has half of the entries or half of the age.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._generation_entries_max = max(1, limits.entries_max // 2)
        self._generation_age_s = limits.age_s / 2
        self._clock = clock
        self._young: dict[str, Fingerprint] = {}
        self._old: dict[str, Fingerprint] = {}
        self._turns_at_s = clock() + self._generation_age_s

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def remember(self, completion_id: str, content: Fingerprint) -> Fingerprint | None:
        """Returns the content that the id is remembered with; if there is none, remembers `content`."""
        now_s = self._clock()
        if now_s >= self._turns_at_s or len(self._young) >= self._generation_entries_max:
            self._turn(now_s)
        known = self._young.get(completion_id)
        if known is None:
            known = self._old.get(completion_id)
        if known is None:
            self._young[completion_id] = content
        return known

    def forget(self, completion_id: str) -> None:
        """For a request that was answered with an error: its client may send something else."""
        self._young.pop(completion_id, None)
        self._old.pop(completion_id, None)

    def _turn(self, now_s: float) -> None:
        both_too_old = now_s >= self._turns_at_s + self._generation_age_s
        self._old = {} if both_too_old else self._young
        self._young = {}
        self._turns_at_s = now_s + self._generation_age_s

"""The recent completions of one subject, and how far a new one differs from what is usual. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import TypeVar

from ingest_api.abuse.tally import Counts
from pipeline.topology.file import Abuse
from schemas.records import Answer, Completion

ANSWERS_KEPT = 64  # of each quiz
QUIZZES_KEPT = 16
BLOCKS_KEPT = 256
CONTACTS_KEPT = 256
BLOCK_DIGITS = 2  # phones that differ only in the last two digits are neighbours

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def fingerprint(answers: dict[str, Answer]) -> int:
    """Equal for equal answers in any order, in this process."""
    return hash(frozenset((name, _hashable(value)) for name, value in answers.items()))


def _hashable(value: Answer) -> Hashable:
    return tuple(value) if isinstance(value, list) else value


class Recent:
    """Bounded. Each process has its own: what two processes share of a subject is found in each."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, deque[int]] = OrderedDict()
        self._blocks: OrderedDict[int, str] = OrderedDict()
        self._contacts: OrderedDict[tuple[str, str], Completion] = OrderedDict()

    def add(
        self, completion: Completion, usual: float, questions: int, limits: Abuse, counts: Counts
    ) -> None:
        """Count a completion. `usual`: how often two of its quiz may be alike."""
        counts.completions += 1
        self._count_alike(completion, usual, counts)
        if completion.personal.phone is not None:
            self._count_neighbours(completion.personal.phone, completion.contact_id, limits, counts)
            self._count_repeats(completion, questions, limits, counts)

    def _count_alike(self, completion: Completion, usual: float, counts: Counts) -> None:
        """The mean over completions estimates how often two are alike, less what is usual."""
        quiz_id, found = completion.quiz_id, fingerprint(completion.answers)
        before = self._answers.get(quiz_id)
        if before is None:
            before = deque(maxlen=ANSWERS_KEPT)
            _keep(self._answers, quiz_id, before, QUIZZES_KEPT)
        else:
            counts.alike += before.count(found) / len(before) - usual
        before.append(found)

    def _count_neighbours(self, phone: str, contact_id: str, limits: Abuse, counts: Counts) -> None:
        block = hash(phone[:-BLOCK_DIGITS])
        neighbour = self._blocks.get(block)
        counts.neighbours += (neighbour is not None and neighbour != contact_id) - limits.neighbours_share
        _keep(self._blocks, block, contact_id, BLOCKS_KEPT)

    def _count_repeats(self, completion: Completion, questions: int, limits: Abuse, counts: Counts) -> None:
        who = (completion.quiz_id, completion.contact_id)
        before = self._contacts.get(who)
        if before is not None and before.completion_id != completion.completion_id:
            passed_ms = completion.accepted_at - before.accepted_at
            counts.repeats += passed_ms < max(1, questions) * limits.answer_min_ms
        _keep(self._contacts, who, completion, CONTACTS_KEPT)


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)

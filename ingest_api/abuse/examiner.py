"""Turns the requests of one interval into a report: per address, network and quiz, if they send many."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ingest_api.abuse.baselines import Baselines, Measured
from ingest_api.abuse.heavy_hitters import HeavyHitters
from ingest_api.abuse.metrics import EXAMINED, NOT_EXAMINED
from ingest_api.abuse.observations import Observation, Outcome
from ingest_api.abuse.recent import Recent
from ingest_api.abuse.store import Report
from ingest_api.abuse.tally import Counts, Push, content_points
from ingest_api.reference.quizzes import Quizzes
from pipeline.abuse.addresses import AddressKeys, network_of
from pipeline.abuse.states import Kind, subject
from pipeline.topology.file import Abuse
from schemas.records import Completion

NETWORKS_KEPT = 65_536
CONTACTS_MAX = 1_000  # of one push: more of an interval are not counted
EXAMINED_OF_QUIZ_MAX = 50  # completions of one interval: what is usual needs no more


class _Examined(NamedTuple):
    """A subject, and its requests of one interval."""

    kind: Kind
    key: str
    part: bytes
    seen: Sequence[Observation]


class Examiner:
    """Whoever sends little is only counted, in a sketch. `clock` in s, monotonic; `now_ms`: since 1970."""

    def __init__(
        self,
        keys: AddressKeys,
        quizzes: Quizzes,
        limits: Abuse,
        clock: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._keys = keys
        self._quizzes = quizzes
        self._limits = limits
        self._now_ms = now_ms
        self._challenges: list[Observation] = []
        self._heavy = HeavyHitters(clock)
        self._baselines = Baselines(limits, clock)
        self._recent: OrderedDict[str, Recent] = OrderedDict()
        self._sealed: OrderedDict[str, str] = OrderedDict()
        self.network_key = lru_cache(NETWORKS_KEPT)(self._network_key)

    def report(self, seen: Sequence[Observation]) -> Report:
        """What an examined address sends counts for it alone; a network and a quiz are judged by the rest."""
        by_address: defaultdict[str, list[Observation]] = defaultdict(list)
        for one in self._due(seen):
            by_address[one.source.key].append(one)
        by_network: defaultdict[str, list[Observation]] = defaultdict(list)
        by_quiz: defaultdict[str, list[Observation]] = defaultdict(list)
        examined: list[_Examined] = []
        measured: dict[str, Measured] = {}
        for key, of_address in by_address.items():
            part = of_address[0].source.part
            if self._heavy.add(key, len(of_address)) >= self._limits.examined_min:
                examined.append(_Examined(Kind.ADDRESS, key, part, of_address))
                continue
            network = self.network_key(part)
            by_network[network] += of_address
            self._compare(network, of_address, measured)
        networks_min = self._limits.examined_min * self._limits.network_factor
        for network, of_network in by_network.items():
            if self._heavy.add(f"/{network}", len(of_network)) >= networks_min:
                part = network_of(of_network[0].source.part)
                examined.append(_Examined(Kind.NETWORK, network, part, of_network))
                continue
            for one in of_network:
                by_quiz[one.quiz_id].append(one)
        for quiz_id, of_quiz in by_quiz.items():
            if self._quizzes.find(quiz_id) is not None:
                examined.append(_Examined(Kind.QUIZ, quiz_id, b"", of_quiz[:EXAMINED_OF_QUIZ_MAX]))
                measured.setdefault(quiz_id, (0.0, 0.0))
        examined = self._most_active(examined)
        EXAMINED.set(len(examined))
        return Report([self._push(one) for one in examined], measured)

    def learn(self, baselines: dict[str, Measured]) -> None:
        for quiz_id, measured in baselines.items():
            self._baselines.learn(quiz_id, measured)

    def sealed(self, named: str) -> str:
        return self._sealed.get(named, "")

    def _most_active(self, found: list[_Examined]) -> list[_Examined]:
        """Chosen before anything is examined: an attack from many addresses must not cost more for each."""
        most = self._limits.subjects_max
        if len(found) <= most:
            return found
        NOT_EXAMINED.inc(len(found) - most)
        return sorted(found, key=lambda one: -len(one.seen))[:most]

    def _due(self, seen: Sequence[Observation]) -> list[Observation]:
        """Return what counts now: a challenge counts, with its answer, when its time to be answered is over.

        So both are added at the same moment, whichever process has which, and people who wait as they are
        told leave nothing behind.
        """
        before_ms = self._now_ms() - self._limits.answer_within_s * 1000
        now: list[Observation] = []
        later: list[Observation] = []
        for one in (*self._challenges, *seen):
            (later if one.issued_ms > before_ms else now).append(one)
        self._challenges = later[-self._limits.observed_max :]
        return now

    def _push(self, examined: _Examined) -> Push:
        named, seen = subject(examined.kind, examined.key), examined.seen
        of_quiz, with_contacts = examined.kind is Kind.QUIZ, examined.kind is Kind.ADDRESS
        if not of_quiz:
            self._seal(named, examined.part)
        limits, counts = self._limits, Counts()
        rejected = 0
        contacts: list[str] = []
        recent = self._recent_of(named)
        for one in seen:
            match one.outcome:
                case Outcome.REJECTED:
                    rejected += 1
                    continue
                case Outcome.CHALLENGED:
                    counts.unanswered += 1 - limits.unanswered_share
                    continue
                case Outcome.ANSWERED:
                    counts.unanswered -= 1
                    continue
                case _:
                    counts.requests += 1
            before = content_points(counts, limits) if one.with_ticket else 0.0
            counts.invalid += (one.outcome is Outcome.INVALID) - limits.invalid_share
            completion = one.completion
            if completion is not None:
                questions = self._questions(completion.quiz_id)
                usual = self._baselines.usual(completion.quiz_id, questions, only_measured=of_quiz)
                recent.add(completion, usual, questions, limits, counts)
                if with_contacts and completion.personal.phone is not None:
                    contacts.append(completion.contact_id)
            if one.with_ticket:
                counts.solved += content_points(counts, limits) - before
        return Push(named, counts, rejected, contacts[:CONTACTS_MAX])

    def _compare(self, network: str, seen: Sequence[Observation], measured: dict[str, Measured]) -> None:
        for completion in _completions(seen):
            same, pairs = self._baselines.compare(network, completion)
            before = measured.get(completion.quiz_id, (0.0, 0.0))
            measured[completion.quiz_id] = (before[0] + same, before[1] + pairs)

    def _questions(self, quiz_id: str) -> int:
        known = self._quizzes.find(quiz_id)
        return 0 if known is None else len(known.quiz.questions)

    def _recent_of(self, named: str) -> Recent:
        recent = self._recent.get(named)
        if recent is None:
            recent = self._recent[named] = Recent()
            if len(self._recent) > self._limits.subjects_max:
                self._recent.popitem(last=False)
        self._recent.move_to_end(named)
        return recent

    def _seal(self, named: str, part: bytes) -> None:
        if named not in self._sealed:
            self._sealed[named] = self._keys.seal(part)
            if len(self._sealed) > 2 * self._limits.subjects_max:
                self._sealed.popitem(last=False)

    def _network_key(self, part: bytes) -> str:
        return self._keys.key(network_of(part))


def _completions(seen: Sequence[Observation]) -> Iterator[Completion]:
    return (one.completion for one in seen if one.completion is not None)

"""How often two completions of a quiz are alike: measured among addresses that send few."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from ingest_api.abuse.recent import fingerprint
from ingest_api.abuse.tally import usual_alike
from pipeline.topology.file import Abuse
from schemas.records import Completion

SAMPLES_KEPT = 16  # of each quiz, each of another network
MINUTE_S = 60.0

Measured = tuple[float, float]  # pairs that are alike, and all pairs


class _Samples:
    __slots__ = ("left", "recent", "until_s")

    def __init__(self) -> None:
        self.recent: deque[tuple[str, int]] = deque(maxlen=SAMPLES_KEPT)
        self.left = 0
        self.until_s = 0.0


class Baselines:
    """A quiz learns slowly, so that an attack cannot quickly teach it that its own answers are usual."""

    def __init__(self, limits: Abuse, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._samples: OrderedDict[str, _Samples] = OrderedDict()
        self._shared: OrderedDict[str, Measured] = OrderedDict()

    def usual(self, quiz_id: str, questions: int, *, only_measured: bool = False) -> float:
        """`only_measured`: anything is usual until enough is measured, so that no new quiz is suspicious."""
        same, pairs = self._shared.get(quiz_id, (0.0, 0.0))
        if only_measured and pairs < self._limits.prior_pairs:
            return 1.0
        return usual_alike(same, pairs, questions, self._limits)

    def learn(self, quiz_id: str, measured: Measured) -> None:
        """Take what all processes have measured together."""
        self._shared[quiz_id] = measured
        self._shared.move_to_end(quiz_id)
        if len(self._shared) > self._limits.quizzes_max:
            self._shared.popitem(last=False)

    def compare(self, network: str, completion: Completion) -> Measured:
        """Compare a completion with those of other networks; return what is new."""
        samples = self._of(completion.quiz_id)
        now_s = self._clock()
        if now_s >= samples.until_s:
            samples.left, samples.until_s = self._limits.baseline_pairs_per_min, now_s + MINUTE_S
        if samples.left <= 0 or any(one == network for one, _ in samples.recent):
            return 0.0, 0.0
        found = fingerprint(completion.answers)
        pairs = min(len(samples.recent), samples.left)
        same = sum(one == found for _, one in list(samples.recent)[:pairs])
        samples.left -= max(1, pairs)
        samples.recent.append((network, found))
        return float(same), float(pairs)

    def _of(self, quiz_id: str) -> _Samples:
        samples = self._samples.get(quiz_id)
        if samples is None:
            samples = self._samples[quiz_id] = _Samples()
            if len(self._samples) > self._limits.quizzes_max:
                self._samples.popitem(last=False)
        return samples

"""Every version of every campaign, in memory, and the versions in force at a given time.

One thread follows the reference data and calls `CampaignBook.apply`; stages take an immutable `Campaigns` for
each batch with `CampaignBook.snapshot`. Only quizzes whose campaigns changed are indexed again, by the next
batch.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from pipeline.campaigns import metrics
from pipeline.campaigns.conditions import Subject, Test, compile_condition
from pipeline.campaigns.index import FOREVER_MS, CampaignIndex, InForce
from schemas.records import Campaign, Completion, Quiz

log = logging.getLogger(__name__)

Compiled = tuple[Campaign, tuple[Test, ...]]

EPOCH_CHANGES_MAX = 256  # starts and ends in one index: at most so many of its candidates are not in force
EPOCHS_KEPT_MAX = 8  # indexes kept per quiz: a replay passes through all, live traffic uses the last


class QuizCampaigns:
    """The campaigns of one quiz over all time, in epochs of few changes; each is indexed when needed."""

    __slots__ = ("_cuts", "_entries", "_epochs")

    def __init__(self, entries: Iterable[InForce]) -> None:
        self._entries = [entry for entry in entries if entry.from_ms < entry.until_ms]
        changes = sorted(
            {entry.from_ms for entry in self._entries} | {entry.until_ms for entry in self._entries}
        )
        self._cuts = changes[::EPOCH_CHANGES_MAX]
        self._epochs: dict[int, CampaignIndex] = {}

    def at(self, accepted_at: int) -> CampaignIndex:
        """An index of all that is in force at `accepted_at`, and of at most EPOCH_CHANGES_MAX others."""
        epoch = bisect_right(self._cuts, accepted_at)
        index = self._epochs.get(epoch)
        if index is None:
            low = self._cuts[epoch - 1] if epoch else -FOREVER_MS
            high = self._cuts[epoch] if epoch < len(self._cuts) else FOREVER_MS
            while len(self._epochs) >= EPOCHS_KEPT_MAX:
                self._epochs.pop(next(iter(self._epochs)))
            index = self._epochs[epoch] = CampaignIndex(
                entry for entry in self._entries if entry.from_ms < high and entry.until_ms > low
            )
        return index

    def in_force(self, accepted_at: int) -> list[Campaign]:
        return [e.campaign for e in self._entries if e.from_ms <= accepted_at < e.until_ms]


class Campaigns:
    """An immutable snapshot of the campaigns that the process has read."""

    __slots__ = ("_quizzes", "_titles", "_versions")

    def __init__(
        self,
        quizzes: Mapping[str, QuizCampaigns],
        versions: Mapping[str, Mapping[int, Compiled]],
        titles: Mapping[str, str],
    ) -> None:
        self._quizzes = quizzes
        self._versions = versions
        self._titles = titles

    def holding(self, completion: Completion) -> list[Campaign]:
        """Campaigns in force when `completion` was accepted whose conditions hold, by campaign id."""
        quiz = self._quizzes.get(completion.quiz_id)
        if quiz is None:
            return []
        subject = Subject(completion)
        found = {
            entry.campaign.campaign_id: entry.campaign
            for entry in quiz.at(completion.accepted_at).candidates(subject)
            if entry.holds(subject)
        }
        return [found[campaign_id] for campaign_id in sorted(found)] if len(found) > 1 else [*found.values()]

    def in_force(self, quiz_id: str, accepted_at: int) -> list[Campaign]:
        """All campaigns in force for a completion accepted then (ms). Linear: for tests."""
        quiz = self._quizzes.get(quiz_id)
        return [] if quiz is None else quiz.in_force(accepted_at)

    def version(self, campaign_id: str, version: int) -> Campaign | None:
        known = self._versions.get(campaign_id, {}).get(version)
        return None if known is None else known[0]

    def title(self, quiz_id: str) -> str | None:
        return self._titles.get(quiz_id)


class CampaignBook:
    """Collects campaign versions and quiz titles; safe to call from several threads."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = Lock()
        self._versions: dict[str, dict[int, Compiled]] = {}
        self._of_quiz: dict[str, set[str]] = {}
        self._titles: dict[str, tuple[int, str]] = {}
        self._stale: set[str] = set()
        self._changed = False
        self._snapshot = Campaigns({}, {}, {})
        self._quizzes: dict[str, QuizCampaigns] = {}
        self._live = False

    def go_live(self) -> None:
        """From now on count events that arrive after their campaign came into force as late."""
        self._live = True

    def apply(self, campaign: Campaign) -> None:
        """Add a version. Versions are kept forever; the first contents of a version are kept."""
        tests = tuple(compile_condition(condition) for condition in campaign.conditions)
        with self._lock:
            versions = self._versions.setdefault(campaign.campaign_id, {})
            known = versions.get(campaign.version)
            if known is not None:
                if known[0] != campaign:
                    metrics.CONFLICTING.inc()
                    log.error(
                        "campaign %s version %d arrived again with other contents: the first is kept",
                        campaign.campaign_id,
                        campaign.version,
                    )
                return
            versions[campaign.version] = (campaign, tests)
            for quiz_id in campaign.quiz_ids:
                self._of_quiz.setdefault(quiz_id, set()).add(campaign.campaign_id)
            self._stale.update(quiz_id for known, _ in versions.values() for quiz_id in known.quiz_ids)
            self._changed = True
        late_ms = self._now_ms() - campaign.effective_at
        if self._live and late_ms > 0:
            metrics.LATE.inc()
            log.warning(
                "campaign %s version %d arrived %d ms after it came into force: completions decided "
                "in between keep their verdicts",
                campaign.campaign_id,
                campaign.version,
                late_ms,
            )

    def apply_quiz(self, quiz: Quiz) -> None:
        with self._lock:
            if self._titles.get(quiz.quiz_id, (-1, ""))[0] < quiz.version:
                self._titles[quiz.quiz_id] = (quiz.version, quiz.title)
                self._changed = True

    def snapshot(self) -> Campaigns:
        """The campaigns applied so far. Costs nothing while nothing changes."""
        if not self._changed:
            return self._snapshot
        with self._lock:
            for quiz_id in self._stale:
                self._quizzes[quiz_id] = QuizCampaigns(self._entries(quiz_id))
            self._stale.clear()
            self._snapshot = Campaigns(
                self._quizzes.copy(),
                self._versions,  # only ever added to
                {quiz_id: title for quiz_id, (_, title) in self._titles.items()},
            )
            self._changed = False
            return self._snapshot

    def _entries(self, quiz_id: str) -> Iterable[InForce]:
        """A version holds until any later version takes effect, or its own end."""
        for campaign_id in self._of_quiz.get(quiz_id, ()):
            until_ms = FOREVER_MS
            for _, (campaign, tests) in sorted(self._versions[campaign_id].items(), reverse=True):
                end_ms = until_ms if campaign.ends_at is None else min(until_ms, campaign.ends_at)
                if campaign.active and quiz_id in campaign.quiz_ids:
                    yield InForce(campaign, tests, campaign.effective_at, end_ms)
                until_ms = min(until_ms, campaign.effective_at)

"""Gives each completion one verdict: runs the agent's steps, such as limit and match, on one decoded record.

The steps share the decoded completion and one read of the contacts' memories per batch. The first step that
decides ends the completion; `pipeline.stages.registry` maps the names in topology.yaml to steps.

Verdicts are functions of the log. A contact's memory holds the completions that were decided, so that reading
the log again, from any offset and in any batches, gives the same verdicts and counts no completion twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from pipeline.campaigns.registry import Campaigns
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages import metrics
from pipeline.stages.contact_memory import Allowed, ContactMemory, Limited, decode, encode
from pipeline.stages.contract import Put, StageResult, StateReader
from pipeline.stages.limit import Limited as OverLimit
from pipeline.stages.limit import LimitStep
from pipeline.stages.match import Matched, MatchStep, forbidden_by, match_event
from pipeline.stages.step import Step
from pipeline.topology.file import Windows
from schemas.codec import Undecodable, codec
from schemas.ids import match_key
from schemas.records import Completion, MatchedCampaign, Outcome, Verdict

log = logging.getLogger(__name__)

LIMITED_REMEMBERED_MAX = 256  # bounds the memory of a contact that is over its limits


class Wiring(msgspec.Struct, frozen=True):
    """The stage's settings from the topology: physical topic names, its table and limits."""

    outcomes_topic: str
    matches_topic: str
    table: str
    windows: Windows
    limited_max: int = LIMITED_REMEMBERED_MAX


class Qualify:
    """The stage of the agent `qualify`."""

    name = "qualify"

    def __init__(
        self, wiring: Wiring, campaigns: Callable[[], Campaigns], steps: Sequence[Step] | None = None
    ) -> None:
        """`campaigns` returns the campaigns known now; it is called once a batch.

        `steps` are by default limit and match. Raises ValueError where a window's limit is more than is
        remembered: its verdicts would be wrong.
        """
        windows = wiring.windows
        largest = max(windows.contact.limit, windows.contact_quiz.limit)
        if windows.remembered_per_contact_max < largest:
            raise ValueError(
                f"windows.remembered_per_contact_max is {windows.remembered_per_contact_max}, "
                f"less than the largest window's limit, {largest}"
            )
        self.tables: tuple[str, ...] = (wiring.table,)
        self._wiring = wiring
        self._campaigns = campaigns
        self._steps = (LimitStep(windows), MatchStep()) if steps is None else tuple(steps)
        # A record below the decided offsets, yet newer than all of them by a window: not the same log.
        self._other_log_ms = 1000 * max(windows.contact.window_s, windows.contact_quiz.window_s)
        self._completions = codec("completion")
        self._outcomes = codec("outcome")
        self._matches = codec("match")

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        poison: list[Poison] = []
        judged: list[tuple[Record, Completion]] = []
        for record in records:
            try:
                completion = self._completions.decode(record.value)
            except Undecodable as error:
                poison.append(Poison(record, error.reason, self.name))
                continue
            if record.key != completion.contact_id.encode():
                # Another key is in another partition, without the contact's memory.
                poison.append(Poison(record, "the key is not the completion's contact id", self.name))
            else:
                judged.append((record, completion))
        keys = [*dict.fromkeys(record.key for record, _ in judged if record.key is not None)]
        memories = dict(zip(keys, map(decode, read(self._wiring.table, keys) if keys else ()), strict=True))
        batch = _Batch(self._campaigns(), Counter())
        changed: dict[bytes, ContactMemory] = {}
        for record, completion in judged:
            assert record.key is not None
            memory = memories[record.key]
            entry = memory.recall(completion.completion_id)
            if entry is not None:
                if entry.offset != record.offset:
                    batch.counts["repeats"] += 1
                    if record.offset > memory.decided_to:
                        # The memory must outlive this record, too, which may be redriven or repeated in turn.
                        memory.decided_to = record.offset
                        changed[record.key] = memory
                    continue
                batch.counts["repeated_verdicts"] += 1
            elif record.offset <= memory.decided_to:
                if completion.accepted_at > memory.newest_ms() + self._other_log_ms:
                    reason = (
                        "below the decided offsets, yet newer: the topic was recreated and the state kept"
                    )
                    poison.append(Poison(record, reason, self.name))
                else:
                    batch.counts["forgotten"] += 1
                continue
            else:
                entry = self._judge(record, completion, memory, batch)
                memory.remember(
                    entry, self._wiring.windows.remembered_per_contact_max, self._wiring.limited_max
                )
                changed[record.key] = memory
            self._emit(record, completion, entry, batch)
        batch.count()
        puts = [Put(self._wiring.table, key, encode(memory)) for key, memory in changed.items()]
        return StageResult(batch.outputs, puts, poison)

    def _judge(
        self, record: Record, completion: Completion, memory: ContactMemory, batch: _Batch
    ) -> Allowed | Limited:
        decision = None
        for step in self._steps:
            decision = step(completion, memory.allowed, batch.campaigns)
            if decision is not None:
                break
        if isinstance(decision, OverLimit):
            batch.counts["limited"] += 1
            return Limited(
                completion.accepted_at,
                completion.completion_id,
                completion.quiz_id,
                record.offset,
                decision.reason,
            )
        matched = decision.campaigns if isinstance(decision, Matched) else []
        batch.counts["matched" if matched else "unmatched"] += 1
        return Allowed(
            completion.accepted_at,
            completion.completion_id,
            completion.quiz_id,
            record.offset,
            tuple((campaign.campaign_id, campaign.version) for campaign in matched),
        )

    def _emit(self, record: Record, completion: Completion, entry: Allowed | Limited, batch: _Batch) -> None:
        """Add the outputs of a verdict: the same for a new verdict and for a remembered one."""
        verdict: Verdict
        if isinstance(entry, Limited):
            verdict, reason, matched = "limited", entry.reason, []
        else:
            matched = entry.matched
            verdict = "matched" if matched else "unmatched"
            reason = "" if matched else forbidden_by(completion)
        outcome = outcome_of(completion, record.partition, record.offset, verdict, reason, matched)
        assert record.key is not None
        batch.outputs.append(Output(self._wiring.outcomes_topic, record.key, self._outcomes.encode(outcome)))
        for chosen in matched:
            campaign = batch.campaigns.version(chosen.campaign_id, chosen.version)
            if campaign is None:
                batch.counts["versions_missing"] += 1
                log.error(
                    "campaign %s version %d is remembered but not in the reference data; "
                    "its match is not repeated",
                    chosen.campaign_id,
                    chosen.version,
                )
                continue
            event = match_event(completion, campaign, batch.campaigns.title(completion.quiz_id))
            batch.outputs.append(
                Output(
                    self._wiring.matches_topic,
                    match_key(chosen.campaign_id, completion.contact_id),
                    self._matches.encode(event),
                )
            )


def outcome_of(
    completion: Completion,
    partition: int,
    offset: int,
    verdict: Verdict,
    reason: str,
    campaigns: list[MatchedCampaign],
) -> Outcome:
    """The outcome of the completion at this place of the log."""
    return Outcome(
        completion_id=completion.completion_id,
        tenant_id=completion.tenant_id,
        quiz_id=completion.quiz_id,
        contact_id=completion.contact_id,
        day=completion.day,
        accepted_at=completion.accepted_at,
        verdict=verdict,
        source_partition=partition,
        source_offset=offset,
        reason=reason,
        campaigns=campaigns,
    )


# Name in a batch's counts -> metric.
COUNTERS = {
    **{verdict: metrics.VERDICTS.labels(verdict) for verdict in ("limited", "matched", "unmatched")},
    "repeated_verdicts": metrics.REPEATED_VERDICTS,
    "repeats": metrics.REPEATS,
    "forgotten": metrics.FORGOTTEN,
    "versions_missing": metrics.VERSIONS_MISSING,
}


class _Batch:
    """The outputs and counts of one call of the stage."""

    __slots__ = ("campaigns", "counts", "outputs")

    def __init__(self, campaigns: Campaigns, counts: Counter[str]) -> None:
        self.campaigns = campaigns
        self.counts = counts
        self.outputs: list[Output] = []

    def count(self) -> None:
        for name, number in self.counts.items():
            COUNTERS[name].inc(number)

"""The three stages as pure functions, for the peers; their state is plain lists and texts.

They do what `pipeline.stages` do, with its own windows and campaigns, on one record at a time, which is how
these frameworks hand records over. A contact's memory is a list of entries; a campaign and contact's is the
id of the completion that was first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.campaigns.registry import Campaigns
from pipeline.stages.limit import Limited, limit
from pipeline.stages.match import Matched, forbidden_by, match, match_event
from pipeline.stages.qualify import outcome_of
from pipeline.topology.file import Windows
from schemas.codec import codec
from schemas.ids import match_key
from schemas.records import Completion, Duplicate, Match, MatchedCampaign, Outcome, Verdict

Memory = list[
    list[int | str]
]  # of a contact: [accepted_at, completion id, quiz id], in the order of decision

decode_completion = codec("completion").decode
decode_match = codec("match").decode
encode_outcome = codec("outcome").encode
encode_match = codec("match").encode
encode_duplicate = codec("duplicate").encode


class Entry(NamedTuple):
    """What `limit` reads of a remembered completion."""

    accepted_at: int
    completion_id: str
    quiz_id: str


class Judged(NamedTuple):
    outcome: Outcome
    matches: list[Match]


class Judge:
    """Limit, then match."""

    def __init__(self, windows: Windows, campaigns: Callable[[], Campaigns]) -> None:
        self._windows = windows
        self._campaigns = campaigns()

    def judge(self, completion: Completion, partition: int, offset: int, memory: Memory) -> Judged:
        """Appends to `memory` what is allowed. The same completion read again gets the same verdict."""
        entries = [Entry(*entry) for entry in memory]  # type: ignore[arg-type]
        verdict: Verdict
        matches: list[Match] = []
        reason = ""
        within = limit(completion.accepted_at, completion.quiz_id, entries, self._windows)  # type: ignore[arg-type]
        known = any(entry.completion_id == completion.completion_id for entry in entries)
        if isinstance(within, Limited) and not known:
            verdict, reason = "limited", within.reason
        else:
            if not known:
                memory.append([completion.accepted_at, completion.completion_id, completion.quiz_id])
                del memory[: -self._windows.remembered_per_contact_max]
            found = match(completion, self._campaigns)
            title = self._campaigns.title(completion.quiz_id)
            if isinstance(found, Matched):
                matches = [match_event(completion, campaign, title) for campaign in found.campaigns]
            verdict = "matched" if matches else "unmatched"
            reason = "" if matches else forbidden_by(completion)
        campaigns = [MatchedCampaign(one.campaign_id, one.campaign_version) for one in matches]
        outcome = outcome_of(completion, partition, offset, verdict, reason, campaigns)
        return Judged(outcome, matches)


def key_of(match: Match) -> bytes:
    return match_key(match.campaign_id, match.contact_id)


def duplicate_of(match: Match, first_completion_id: str | None) -> Duplicate | None:
    """None for the first of its campaign and contact, and for that one read again."""
    if first_completion_id is None or first_completion_id == match.completion_id:
        return None
    return Duplicate(
        tenant_id=match.tenant_id,
        campaign_id=match.campaign_id,
        contact_id=match.contact_id,
        completion_id=match.completion_id,
        first_completion_id=first_completion_id,
        day=match.day,
        accepted_at=match.accepted_at,
    )


class Expected(NamedTuple):
    """By completion id: the verdict; the (campaign, completion) of each delivery and of each duplicate."""

    verdicts: dict[str, str]
    deliveries: set[tuple[str, str]]
    duplicates: set[tuple[str, str]]


def expected(completions: Sequence[Completion], judge: Judge) -> Expected:
    """Expected output of the stages for these, read in this order."""
    memories: dict[str, Memory] = {}
    first: dict[bytes, str] = {}
    outcome = Expected({}, set(), set())
    for offset, completion in enumerate(completions):
        judged = judge.judge(completion, 0, offset, memories.setdefault(completion.contact_id, []))
        outcome.verdicts[completion.completion_id] = judged.outcome.verdict
        for found in judged.matches:
            holder = first.setdefault(key_of(found), found.completion_id)
            pair = (found.campaign_id, found.completion_id)
            (outcome.deliveries if duplicate_of(found, holder) is None else outcome.duplicates).add(pair)
    return outcome

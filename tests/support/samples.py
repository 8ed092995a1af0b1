"""Events as the pipeline makes them; a test says only what it is about."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from schemas.ids import campaign_month, day_of, delivery_id
from schemas.records import Completion, Duplicate, Match, Outcome, Personal

# Within a second: one run in a thousand would meet its very beginning.
NOW_MS = int(time.time()) * 1000 + 500
TODAY = day_of(NOW_MS)


def number(n: int) -> str:
    """The n-th UUID of the tests."""
    return str(uuid.UUID(int=n))


def completion(n: int, **changes: Any) -> Completion:
    event = Completion(
        completion_id=number(n),
        tenant_id="demo",
        quiz_id="bfi",
        quiz_version=1,
        contact_id=f"{n:032x}",
        day=TODAY,
        submitted_at=NOW_MS,
        accepted_at=NOW_MS + n,
        answers={"A1": 3, "A2": "sometimes", "A3": ["x", "y"], "A4": True, "A5": 0.5},
        personal=Personal(phone=f"+55479{n:08d}", name=f"Person {n}"),
        score=0.75,
    )
    return msgspec.structs.replace(event, **changes)


def outcome(n: int, **changes: Any) -> Outcome:
    event = Outcome(
        completion_id=number(n),
        tenant_id="demo",
        quiz_id="bfi",
        contact_id=f"{n:032x}",
        day=TODAY,
        accepted_at=NOW_MS + n,
        verdict="unmatched",
        source_partition=0,
        source_offset=n,
    )
    return msgspec.structs.replace(event, **changes)


def match(n: int, campaign: str = "welcome", **changes: Any) -> Match:
    """Completion n of contact n, as a campaign wants to answer it."""
    event = Match(
        delivery_id=delivery_id(campaign, f"{n:032x}"),
        tenant_id="demo",
        campaign_id=campaign,
        campaign_version=1,
        campaign_month=campaign_month(NOW_MS),
        contact_id=f"{n:032x}",
        completion_id=number(n),
        quiz_id="bfi",
        day=TODAY,
        accepted_at=NOW_MS,
        variables={"score": "0.75"},
        personal=Personal(phone=f"+55479{n:08d}", name=f"Person {n}"),
    )
    return msgspec.structs.replace(event, **changes)


def duplicate(n: int, first: int, campaign: str = "welcome", **changes: Any) -> Duplicate:
    event = Duplicate(
        tenant_id="demo",
        campaign_id=campaign,
        contact_id=f"{first:032x}",
        completion_id=number(n),
        first_completion_id=number(first),
        day=TODAY,
        accepted_at=NOW_MS,
    )
    return msgspec.structs.replace(event, **changes)

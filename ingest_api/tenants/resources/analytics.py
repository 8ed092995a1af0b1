"""What became of a quiz's visitors: the funnel, and at which question they left."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from ingest_api.http.problems import rejection
from ingest_api.tenants.api.operation import Answer, Call, Operation, unknown
from ingest_api.tenants.api.problems import INVALID_QUERY
from sinks.postgres.catalogue.quizzes import UnknownQuiz
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.visits.drop_off import DropOff, drop_off

QUERIES = load_queries(Path(__file__).with_name("analytics.sql"))
DAYS_MAX = 92
DAYS_DEFAULT = 30


class _Funnel(NamedTuple):
    started: int
    completed: int
    matched: int
    sent: int
    delivered: int
    read: int
    failed: int
    suppressed: int


class Funnel(msgspec.Struct, frozen=True):
    """Of the days from `since` to `until`, both included (UTC).

    `matched`: completions that a campaign of the quiz owes a message. A later step is part of the one before.
    """

    since: date
    until: date
    started: int
    completed: int
    matched: int
    sent: int
    delivered: int
    read: int
    failed: int
    suppressed: int


def funnel(call: Call) -> Answer:
    since, until = _days(call)
    _drop_off(call, since, until)  # raises for a quiz that is not the tenant's
    given = {"tenant": call.tenant_id, "quiz": call.id, "since": since, "until": until}
    (found,) = fetch(call.connection, QUERIES["funnel"], _Funnel, given)
    return Answer(Funnel(since, until, *found))


def leaving(call: Call) -> Answer:
    return Answer(_drop_off(call, *_days(call)))


def _drop_off(call: Call, since: date, until: date) -> DropOff:
    silent_min = call.topology.visits.silent_min
    silent_before = datetime.fromtimestamp(call.now_ms / 1000, UTC) - timedelta(minutes=silent_min)
    try:
        return drop_off(call.connection, call.id, since=since, until=until, silent_before=silent_before)
    except UnknownQuiz:
        raise unknown("quiz") from None


def _days(call: Call) -> tuple[date, date]:
    today = datetime.fromtimestamp(call.now_ms / 1000, UTC).date()
    try:
        until = date.fromisoformat(call.query["until"]) if "until" in call.query else today
        since = (
            date.fromisoformat(call.query["since"])
            if "since" in call.query
            else until - timedelta(days=DAYS_DEFAULT)
        )
        days = (until - since).days
    except (ValueError, OverflowError):
        raise rejection(INVALID_QUERY, "`since` and `until` are days such as 2026-11-30") from None
    if not 0 <= days <= DAYS_MAX:
        raise rejection(INVALID_QUERY, f"`until` must lie 0 to {DAYS_MAX} days after `since`")
    return since, until


DAYS = {"since": "the first day (UTC)", "until": "the last day; today without it"}
OPERATIONS = (
    Operation(
        *("readFunnel", "GET", "/v1/quizzes/{id}/funnel", "read", "Read a quiz's funnel", funnel),
        answer=Funnel,
        query=DAYS,
    ),
    Operation(
        *("readDropOff", "GET", "/v1/quizzes/{id}/drop-off", "read", "Read where visitors leave", leaving),
        answer=DropOff,
        query=DAYS,
    ),
)

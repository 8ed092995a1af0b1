"""What is left to delete goes on soon, within a share of the thread's time."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from pipeline.runtime.backoff import Backoff
from sinks.maintenance import RETENTION_SHARE_MAX, SELDOM_EVERY_S, STATUSES_EVERY_S, Maintenance

CALL_S = 0.5


class Deleting:
    """Retention with a backlog of so many calls; each takes CALL_S of the clock."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.now_s = 0.0
        self.calls_at: list[float] = []
        self.rounds = 0

    def begin_round(self) -> None:
        self.rounds += 1

    def enforce(self, _connection: object) -> bool:
        self.calls_at.append(self.now_s)
        self.now_s += CALL_S
        self.left -= 1
        return self.left > 0


class Nothing:
    def enforce(self, _connection: object) -> bool:
        return False

    def merge_waiting(self, *_args: object) -> int:
        return 0

    def count_waiting(self, _connection: object) -> int:
        return 0


def test_a_backlog_is_worked_off_within_a_share_of_the_time(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("sinks.postgres.audit_log.delete_old", lambda *_args: 0)
    monkeypatch.setattr("sinks.maintenance.inbound_events.enforce", lambda *_args: None)
    monkeypatch.setattr("sinks.maintenance.inbound_events.show_unresolved", lambda *_args: None)
    monkeypatch.setattr("sinks.maintenance.notices.enforce", lambda *_args: None)
    monkeypatch.setattr("sinks.maintenance.notices.show_unresolved", lambda *_args: None)
    monkeypatch.setattr("sinks.maintenance.notices.show_held", lambda *_args: None)
    monkeypatch.setattr("sinks.maintenance.inbound.sweep", lambda _connection, after: (after, 0))
    monkeypatch.setattr("sinks.maintenance.create_ahead", lambda *_args, **_more: [])
    deleting = Deleting(calls=10)
    days = ("audit_log_days", "inbound_days", "partition_days_ahead", "partition_months_ahead")
    limits = cast(Any, SimpleNamespace(**dict.fromkeys(days, 1)))
    upkeep = Maintenance(
        limits,
        lambda: cast(Any, SimpleNamespace(closed=False)),
        lambda: datetime.now(UTC).date(),
        Backoff(),
        Nothing(),
        cast(Any, Nothing()),
        cast(Any, deleting),
        clock=lambda: deleting.now_s,
    )
    while deleting.left > 0:
        upkeep._round()
        deleting.now_s += STATUSES_EVERY_S
    took_s = deleting.calls_at[-1] + CALL_S - deleting.calls_at[0]
    assert CALL_S * 10 / took_s < RETENTION_SHARE_MAX * 1.2
    assert took_s < SELDOM_EVERY_S / 10
    for _ in range(5):
        upkeep._round()
        deleting.now_s += STATUSES_EVERY_S
    assert len(deleting.calls_at) == 10  # until the next round
    deleting.now_s += SELDOM_EVERY_S
    upkeep._round()
    assert (len(deleting.calls_at), deleting.rounds) == (11, 2)

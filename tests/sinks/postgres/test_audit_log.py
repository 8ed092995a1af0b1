"""What operators did is written down with the change itself, without personal data, for a limited time."""

from __future__ import annotations

import pytest

from sinks.postgres import audit_log
from sinks.postgres.audit_log import PersonalReason, delete_old, entries, record
from tests.support.sinks import Corner


def test_entries_are_paged_by_key_the_newest_first(corner: Corner) -> None:
    for number in range(5):
        record(corner.connection, "ana", "tenant.add", f"t{number}", step=number)

    first = entries(corner.connection, limit=2)
    record(corner.connection, "ana", "tenant.add", "later")
    assert first.next is not None
    second = entries(corner.connection, limit=2, before=int(first.next))
    assert second.next is not None
    last = entries(corner.connection, limit=2, before=int(second.next))

    assert [entry.subject for entry in (*first.items, *second.items, *last.items)] == [
        f"t{number}" for number in (4, 3, 2, 1, 0)
    ]
    assert last.next is None
    assert first.items[0].detail == {"step": 4}
    assert [entry.subject for entry in entries(corner.connection, limit=9, subject="t3").items] == ["t3"]


@pytest.mark.parametrize(
    "reason", ["asked by ana@example.com", "call +55 47 98921-1984 first", "47989211984"]
)
def test_a_reason_that_names_a_person_is_refused(corner: Corner, reason: str) -> None:
    with pytest.raises(PersonalReason) as refused:
        record(corner.connection, "ana", "number.hold", "n", reason=reason)
    assert "98921" not in str(refused.value)
    assert entries(corner.connection, limit=9).items == []


@pytest.mark.parametrize("reason", ["", "ticket 4711 of 2026-11-28 10:15", "campaign may-2026 had 20261128"])
def test_dates_and_tickets_are_not_persons(corner: Corner, reason: str) -> None:
    record(corner.connection, "ana", "number.hold", "n", reason=reason)
    assert entries(corner.connection, limit=9).items[0].detail == {"reason": reason}


def test_what_is_older_than_its_retention_is_deleted_in_steps(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "DELETE_BATCH_MAX", 2)
    for number in range(4):
        record(corner.connection, "ana", "tenant.add", f"t{number}")
    corner.connection.execute(
        "UPDATE audit_log SET at = at - interval '31 days' WHERE subject IN ('t0', 't1', 't2')"
    )

    assert [delete_old(corner.connection, 30) for _ in range(3)] == [2, 1, 0]
    assert [entry.subject for entry in entries(corner.connection, limit=9).items] == ["t3"]

"""An operator resolves doubt and redrives failure: never what may have been sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from schemas.codec import codec
from schemas.records import DeliveryEvent
from sinks.delivery.operator.deliveries import (
    UNDECIDED,
    BadCursor,
    BadDeliveryId,
    Chosen,
    UnknownDelivery,
    delivery_uuid,
    known_of,
    list_deliveries,
)
from sinks.delivery.operator.redrive import redrive_many, redrive_one
from sinks.delivery.operator.resolve import NotAmbiguous, NotConfirmed, resolve
from sinks.delivery.state import DeliveryState
from sinks.postgres.audit_log import PersonalReason, entries
from sinks.postgres.connect import connect
from tests.support.sender_world import TENANT, World

ANA = "ana"


class Desk:
    """The operator's connection, and what is in the ledger."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.db = connect(world.database_url, "test")
        self.campaign = world.campaign()

    def delivery(self, state: str, *outcomes: str | None, **columns: Any) -> UUID:
        """In `state`, with a call for each outcome; the last of them is its last."""
        attempts = [uuid4() for _ in outcomes]
        (contact,) = self.world.deliveries(
            self.campaign,
            state=state,
            attempts=len(outcomes),
            attempt_id=attempts[-1] if attempts else None,
            **columns,
        )
        row = self.db.execute("SELECT delivery_id FROM deliveries WHERE contact_id = %s", [contact])
        delivery_id = UUID(str(row.fetchall()[0][0]))
        for number, (attempt_id, outcome) in enumerate(zip(attempts, outcomes, strict=True), 1):
            self.db.execute(
                "INSERT INTO delivery_attempts"
                " (attempt_id, delivery_id, number_id, attempt, outcome, provider, finished_at)"
                " VALUES (%s, %s, '1', %s, %s, 'meta-cloud', now())",
                [attempt_id, delivery_id, number, outcome],
            )
        return delivery_id

    def state(self, delivery_id: UUID) -> str:
        return known_of(self.db, delivery_id).delivery.state

    def outcomes(self, delivery_id: UUID) -> list[str | None]:
        return [row.outcome for row in known_of(self.db, delivery_id).attempts]

    def events(self) -> list[DeliveryEvent]:
        rows = self.db.execute("SELECT value FROM outbox ORDER BY id").fetchall()
        return [codec("delivery_event").decode(bytes(row[0])) for row in rows]  # type: ignore[call-overload]

    def entries(self) -> list[tuple[str, str]]:
        return [(entry.action, entry.subject) for entry in reversed(entries(self.db, limit=100).items)]


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def test_resolved_as_sent_it_ends_as_sent_with_its_event_and_its_entry(desk: Desk) -> None:
    doubtful = desk.delivery("ambiguous", "ambiguous")
    change = resolve(desk.db, ANA, doubtful, "sent", "in the log", provider_message_id="wamid.9")

    assert (change.state, change.provider_message_id) == ("sent", "wamid.9")
    assert desk.outcomes(doubtful) == ["resolved_sent"]
    (event,) = desk.events()
    assert (event.delivery_id, event.state, event.sequence) == (str(doubtful), "sent", change.sequence)
    assert desk.entries() == [("delivery.resolve", str(doubtful))]


def test_resolved_as_not_sent_it_fails_and_is_not_called_again(desk: Desk) -> None:
    doubtful = desk.delivery("ambiguous", "rejected", "ambiguous")
    with pytest.raises(NotConfirmed, match="--checked-at-provider"):
        resolve(desk.db, ANA, doubtful, "not-sent", "surely not")
    assert (desk.state(doubtful), desk.events(), desk.entries()) == ("ambiguous", [], [])

    resolve(desk.db, ANA, doubtful, "not-sent", "not in the log", checked_at_provider=True)

    assert desk.state(doubtful) == "failed"
    assert desk.outcomes(doubtful) == ["rejected", "resolved_not_sent"]
    assert [event.state for event in desk.events()] == ["failed"]


@pytest.mark.parametrize("state", [state for state in DeliveryState if state != "ambiguous"])
def test_only_an_ambiguous_delivery_is_resolved(desk: Desk, state: DeliveryState) -> None:
    other = desk.delivery(state, "rejected")
    with pytest.raises(NotAmbiguous, match=f"is {state}"):
        resolve(desk.db, ANA, other, "sent", "seen")
    assert (desk.state(other), desk.events(), desk.entries()) == (state, [], [])


def test_a_reason_that_names_a_person_changes_nothing(desk: Desk) -> None:
    doubtful = desk.delivery("ambiguous", "ambiguous")
    with pytest.raises(PersonalReason):
        resolve(desk.db, ANA, doubtful, "sent", "+55 47 98921-1984 said so")
    assert (desk.state(doubtful), desk.events()) == ("ambiguous", [])


@pytest.mark.parametrize(
    ("state", "outcomes"),
    [
        ("dead", ("rejected", "not_sent", "rejected")),
        ("failed", ("rejected",)),
        ("failed", ()),
        ("failed", ("rejected", "resolved_not_sent")),
        ("dead", ("taken_back", "rejected")),
    ],
)
def test_where_no_call_can_have_been_sent_it_waits_again(
    desk: Desk, state: str, outcomes: tuple[str, ...]
) -> None:
    given_up = desk.delivery(state, *outcomes, due_at="2026-01-01")
    assert redrive_one(desk.db, ANA, given_up, "approved", dry_run=True).redriven == 1
    assert (desk.state(given_up), desk.events()) == (state, [])

    assert redrive_one(desk.db, ANA, given_up, "approved").left == {}

    delivery = known_of(desk.db, given_up).delivery
    assert (delivery.state, delivery.attempts) == ("waiting", 0)
    assert [event.state for event in desk.events()] == ["waiting"]
    assert desk.entries() == [("delivery.redrive", str(given_up))]


@pytest.mark.parametrize(
    ("state", "outcomes", "columns", "said"),
    [
        ("ambiguous", ("ambiguous",), {}, "it is ambiguous"),
        ("sent", ("sent",), {}, "it is sent"),
        ("waiting", (), {}, "it is waiting"),
        ("failed", ("sent",), {}, "may have been sent"),
        ("failed", ("ambiguous", "rejected"), {}, "may have been sent"),
        ("failed", (None,), {}, "may have been sent"),
        ("failed", ("resolved_sent",), {}, "may have been sent"),
        ("failed", ("of a later version",), {}, "may have been sent"),
        ("failed", ("rejected",), {"provider_message_id": "wamid.1"}, "the provider accepted it"),
    ],
)
def test_what_may_have_been_sent_is_never_redriven(
    desk: Desk, state: str, outcomes: tuple[str | None, ...], columns: dict[str, Any], said: str
) -> None:
    doubtful = desk.delivery(state, *outcomes, **columns)
    report = redrive_one(desk.db, ANA, doubtful, "")
    assert report.redriven == 0
    assert [said in why for why in report.left] == [True]
    assert (desk.state(doubtful), desk.events(), desk.entries()) == (state, [], [])


def test_a_call_that_the_ledger_does_not_list_or_a_waiting_proof_forbids_it(desk: Desk) -> None:
    unlisted = desk.delivery("dead", "rejected")
    desk.db.execute("UPDATE deliveries SET attempts = 2 WHERE delivery_id = %s", [unlisted])
    proven = desk.delivery("dead", "rejected")
    desk.db.execute(
        "INSERT INTO provider_statuses (provider, provider_message_id, status, attempt_id, at)"
        " SELECT 'meta-cloud', 'wamid.7', 'sent', attempt_id, now() FROM deliveries WHERE delivery_id = %s",
        [proven],
    )
    assert redrive_one(desk.db, ANA, unlisted, "").left == {"not every one of its calls is known": 1}
    assert redrive_one(desk.db, ANA, proven, "").left == {"a status of the provider proves a message": 1}
    assert [row.status for row in known_of(desk.db, proven).statuses] == ["sent"]


def test_opt_outs_and_cancelled_campaigns_are_left(desk: Desk) -> None:
    unwanted = desk.delivery("dead", "rejected")
    desk.db.execute(
        "INSERT INTO suppressions SELECT tenant_id, contact_id, 'STOP' FROM deliveries"
        " WHERE delivery_id = %s",
        [unwanted],
    )
    assert redrive_one(desk.db, ANA, unwanted, "").left == {"the contact opted out": 1}
    other = desk.delivery("dead", "rejected")
    desk.db.execute("UPDATE campaigns SET cancelled_at = now()")
    assert redrive_one(desk.db, ANA, other, "").left == {"the campaign was cancelled": 1}


def test_a_campaign_is_redriven_in_steps_and_says_what_it_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.delivery.operator.redrive.BATCH_MAX", 2)
    dead = [desk.delivery("dead", "rejected") for _ in range(4)]
    failed, doubtful = desk.delivery("failed", "rejected"), desk.delivery("failed", "sent")
    desk.delivery("ambiguous", "ambiguous")

    dry = redrive_many(desk.db, ANA, Chosen(campaign_id=desk.campaign), "", dry_run=True)
    assert (dry.redriven, sum(dry.left.values())) == (5, 1)
    only_dead = redrive_many(desk.db, ANA, Chosen((DeliveryState.DEAD,), campaign_id=desk.campaign), "")
    assert (only_dead.redriven, only_dead.left) == (4, {})
    rest = redrive_many(desk.db, ANA, Chosen(campaign_id=desk.campaign), "")
    assert (rest.redriven, rest.left) == (1, {"one of its calls may have been sent": 1})

    assert {desk.state(one) for one in (*dead, failed)} == {"waiting"}
    assert desk.state(doubtful) == "failed"
    assert len(desk.events()) == 5
    assert {action for action, _ in desk.entries()} == {"campaign.redrive"}


def test_redriven_by_time_by_reason_and_all_and_quarantined_after_three(desk: Desk) -> None:
    old = desk.delivery("dead", "rejected", reason="131057 number in maintenance")
    desk.db.execute("UPDATE deliveries SET updated_at = '2026-05-01'")
    media = desk.delivery("failed", "rejected", reason="131053 Media could not be used")
    other = desk.delivery("failed", "rejected", reason="131026 undeliverable")

    may = Chosen(since=datetime(2026, 5, 1, tzinfo=UTC), until=datetime(2026, 5, 2, tzinfo=UTC))
    assert [row.delivery_id for row in list_deliveries(desk.db, may, limit=9).items] == [str(old)]
    assert redrive_many(desk.db, ANA, may, "mended", dry_run=True).redriven == 1
    assert redrive_many(desk.db, ANA, may, "mended").redriven == 1
    assert redrive_many(desk.db, ANA, Chosen(why="media"), "", redrives_max=3).redriven == 1
    assert [desk.state(one) for one in (old, media, other)] == ["waiting", "waiting", "failed"]
    with pytest.raises(PersonalReason):
        redrive_many(desk.db, ANA, Chosen(tenant_id=TENANT), "+55 47 98921-1984")

    for _ in range(3):
        assert redrive_many(desk.db, ANA, Chosen(), "", redrives_max=3).redriven == 1
        desk.db.execute("UPDATE deliveries SET state = 'dead', attempts = 1 WHERE delivery_id = %s", [other])
    left = redrive_many(desk.db, ANA, Chosen(), "", redrives_max=3).left
    assert left == {"it is quarantined: redriven 3 times already": 1}
    assert [row.delivery_id for row in list_deliveries(desk.db, redrives_min=3, limit=9).items] == [
        str(other)
    ]
    assert redrive_one(desk.db, ANA, other, "sure").redriven == 1


def test_deliveries_are_listed_by_key_a_page_at_a_time(desk: Desk) -> None:
    ids = {str(desk.delivery("ambiguous", "ambiguous")) for _ in range(3)}
    ids |= {str(desk.delivery("dead", "rejected")) for _ in range(2)}
    desk.delivery("sent", "sent")

    seen, after = [], None
    while True:
        page = list_deliveries(desk.db, limit=2, after=after)
        seen += [row.delivery_id for row in page.items]
        if page.next is None:
            break
        after = page.next
    assert len(seen) == 5
    assert set(seen) == ids
    assert len(list_deliveries(desk.db, Chosen((DeliveryState.DEAD,)), limit=9).items) == 2
    assert len(list_deliveries(desk.db, Chosen(campaign_id=desk.campaign), limit=9).items) == 6
    assert len(list_deliveries(desk.db, UNDECIDED._replace(tenant_id=TENANT), limit=9).items) == 5
    assert list_deliveries(desk.db, Chosen(campaign_id="other"), limit=9).items == []
    with pytest.raises(BadCursor):
        list_deliveries(desk.db, limit=9, after="nowhere")


def test_a_delivery_is_shown_without_its_phone(desk: Desk) -> None:
    one = desk.delivery("ambiguous", "rejected", "ambiguous")
    known = known_of(desk.db, one)
    phone = desk.world.phone(known.delivery.contact_id)
    assert known.phone is not None
    assert phone not in str(known)
    assert [row.outcome for row in known.attempts] == ["rejected", "ambiguous"]
    with pytest.raises(UnknownDelivery):
        known_of(desk.db, uuid4())
    with pytest.raises(BadDeliveryId):
        delivery_uuid("abc")


def test_two_operators_at_once_resolve_it_once(desk: Desk) -> None:
    doubtful = desk.delivery("ambiguous", "ambiguous")
    with psycopg.connect(desk.world.database_url) as other:
        other.execute("SELECT FROM deliveries WHERE delivery_id = %s FOR UPDATE", [doubtful])
        desk.db.execute("SET lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            resolve(desk.db, ANA, doubtful, "sent", "seen")
    resolve(desk.db, ANA, doubtful, "sent", "seen")
    with pytest.raises(NotAmbiguous):
        resolve(desk.db, ANA, doubtful, "not-sent", "not seen", checked_at_provider=True)

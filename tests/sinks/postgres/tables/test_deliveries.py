from __future__ import annotations

from schemas.records import Personal
from sinks.postgres.tables.deliveries import Deliveries
from sinks.postgres.tables.duplicates import Duplicates
from tests.support.samples import NOW_MS, duplicate, match, number
from tests.support.sinks import Corner

LEDGER = "SELECT contact_id, completion_id::text, state, sequence FROM deliveries ORDER BY contact_id"


def test_a_match_opens_a_waiting_delivery_and_tells_it(corner: Corner) -> None:
    event = match(1, delay_s=90, priority=7)

    report = corner.write(Deliveries(), [event])

    assert report.rows == 1
    assert corner.rows(LEDGER) == [(event.contact_id, number(1), "waiting", 1)]
    assert corner.rows(
        "SELECT variables, priority, (extract(epoch FROM due_at) * 1000)::bigint FROM deliveries"
    ) == [({"score": "0.75"}, 7, NOW_MS + 90_000)]
    (told,) = corner.told()
    assert (told.delivery_id, told.state, told.sequence) == (event.delivery_id, "waiting", 1)
    assert corner.rows("SELECT key FROM outbox") == [(event.delivery_id.encode(),)]
    assert corner.rows("SELECT phone FROM contacts") == [(event.personal.phone,)]


def test_the_same_match_again_changes_nothing(corner: Corner) -> None:
    events = [match(n) for n in range(5)]
    corner.write(Deliveries(), events)
    corner.rows("UPDATE deliveries SET state = 'sent', sequence = 4 RETURNING 1")
    before = corner.rows("SELECT * FROM deliveries ORDER BY contact_id")

    report = corner.write(Deliveries(), [*events, events[2]])

    assert (report.rows, report.repeats) == (0, 6)
    assert corner.rows("SELECT * FROM deliveries ORDER BY contact_id") == before
    assert len(corner.told()) == 5
    assert corner.rows("SELECT 1 FROM duplicates") == []


def test_another_completion_of_the_same_contact_is_a_duplicate(corner: Corner) -> None:
    """In a batch and over batches: the ledger's key decides, whatever deduplication let through."""
    first = match(1)
    second, third = match(2, contact_id=first.contact_id), match(3, contact_id=first.contact_id)

    corner.write(Deliveries(), [first, second])
    corner.write(Deliveries(), [third, second])

    assert corner.rows(LEDGER) == [(first.contact_id, number(1), "waiting", 1)]
    assert corner.rows(
        "SELECT completion_id::text, first_completion_id::text FROM duplicates ORDER BY completion_id"
    ) == [(number(2), number(1)), (number(3), number(1))]
    assert len(corner.told()) == 1


def test_one_contact_gets_a_delivery_of_each_campaign(corner: Corner) -> None:
    corner.write(Deliveries(), [match(1, "spring"), match(1, "autumn")])

    assert corner.rows("SELECT campaign_id FROM deliveries ORDER BY 1") == [("autumn",), ("spring",)]
    assert corner.rows("SELECT 1 FROM duplicates") == []


def test_the_ledger_and_the_duplicates_topic_agree_on_one_row(corner: Corner) -> None:
    corner.write(Deliveries(), [match(1), match(2, contact_id=match(1).contact_id)])

    report = corner.write(Duplicates(), [duplicate(2, first=1), duplicate(3, first=1), duplicate(3, first=1)])

    assert (report.rows, report.repeats) == (1, 2)
    assert len(corner.rows("SELECT 1 FROM duplicates")) == 2


def test_a_contact_is_what_its_newest_completion_says(corner: Corner) -> None:
    newest = match(1, "b", accepted_at=NOW_MS + 2, personal=Personal(phone="+5547989211984", name="New"))
    older = match(1, "a", accepted_at=NOW_MS + 1, personal=Personal(phone="+5547989211984", name="Old"))
    nobody = match(1, "c", accepted_at=NOW_MS + 3, personal=Personal())

    for batch in ([newest], [older], [nobody], [older, newest, nobody]):
        corner.write(Deliveries(), batch)
        assert corner.rows("SELECT name FROM contacts") == [("New",)]

"""A session that is lost pauses its number until it is there again; a ban holds it until an operator acts."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.runtime.record import Record
from schemas.codec import codec
from schemas.records import ProviderWebhook, WebhookBody
from sinks.delivery.statements import statement
from sinks.delivery.stop_switch import hold_number, release_number
from sinks.delivery.webhooks.notices import list_notices, show_held
from sinks.delivery.webhooks.statuses import ProviderStatuses, WebhookDecoder
from sinks.postgres.connect import Connection, connect
from sinks.postgres.sink import Arrival
from sinks.postgres.tables.deliveries import Deliveries
from sinks.webhook import Webhook
from tests.support.samples import NOW_MS, match
from tests.support.sinks import DEADLINE_S, Corner, counted, until

NUMBER, OTHER = "shop", "other"
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
SINK = ProviderStatuses(b"key of this test")
Change = Callable[[Connection], None]


def connection(state: str, code: int = 0, *, after_s: float = 0, number: str = NUMBER) -> Webhook:
    data = {"instance": number, "state": state, **({"statusReason": code} if code else {})}
    return webhook("connection.update", data, after_s=after_s, number=number)


def webhook(event: str, data: Any, *, after_s: float = 0, number: str = NUMBER) -> Webhook:
    content = json.dumps({"event": event, "instance": number, "data": data}).encode()
    record = ProviderWebhook("evolution", number, NOW_MS + int(after_s * 1000), WebhookBody(content))
    return WebhookDecoder().decode(codec("provider_webhook").encode(record))


@pytest.fixture
def shop(corner: Corner) -> Corner:
    corner.write(Deliveries(), [match(1)])
    corner.rows("INSERT INTO tenants (tenant_id, name) VALUES ('demo', '') RETURNING 1")
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES (%s, 'demo', 'evolution', 'http://p', 'A'), (%s, 'demo', 'evolution', 'http://p', 'A')"
        " RETURNING 1",
        NUMBER,
        OTHER,
    )
    corner.connection.commit()
    return corner


def state(corner: Corner, number: str = NUMBER) -> tuple[object, ...]:
    asked = "SELECT state, session_lost_at IS NOT NULL FROM sender_numbers WHERE number_id = %s"
    return corner.rows(asked, number)[0]


def test_a_lost_session_pauses_its_number_until_it_is_there_again(shop: Corner) -> None:
    shop.write(SINK, [connection("close", 428)])
    assert (state(shop), state(shop, OTHER)) == (("paused", True), ("active", False))
    show_held(shop.connection)
    assert counted("quizstream_numbers_held", provider="evolution", state="session_lost") == 1
    ((reason,),) = shop.rows("SELECT reason FROM sender_numbers WHERE number_id = %s", NUMBER)
    assert reason == "reported by the provider: connection disconnected 428: until the session is there again"

    shop.write(SINK, [connection("open", after_s=5)])

    assert state(shop) == ("active", False)
    assert [one.outcome for one in list_notices(shop.connection, outcome=None, limit=9)] == [
        "resumed",
        "paused",
    ]
    show_held(shop.connection)
    assert counted("quizstream_numbers_held", provider="evolution", state="session_lost") == 0


@pytest.mark.parametrize("together", [True, False])
def test_a_loss_that_is_told_after_the_return_pauses_nothing(shop: Corner, together: bool) -> None:
    told = [connection("open", after_s=5), connection("close", 428)]
    for batch in [told] if together else [[one] for one in told]:
        shop.write(SINK, batch)
    assert state(shop) == ("active", False)


def test_a_return_between_two_losses_does_not_end_the_pause_of_the_later_one(shop: Corner) -> None:
    for told in (
        connection("close", 428),
        connection("close", 428, after_s=9),
        connection("open", after_s=5),
    ):
        shop.write(SINK, [told])
    assert state(shop) == ("paused", True)
    shop.write(SINK, [connection("open", after_s=10)])
    assert state(shop) == ("active", False)


def test_a_return_from_before_the_loss_ends_nothing(shop: Corner) -> None:
    shop.write(SINK, [connection("close", 428, after_s=5)])
    shop.write(SINK, [connection("open")])
    assert state(shop) == ("paused", True)


@pytest.mark.parametrize("before", [True, False])
def test_a_return_ends_no_hold_of_an_operator(shop: Corner, before: bool) -> None:
    if before:
        assert hold_number(shop.connection, NUMBER, "moved", "ana")
    shop.write(SINK, [connection("close", 428)])
    if not before:
        assert hold_number(shop.connection, NUMBER, "moved", "ana"), "it takes the place of the pause"
    shop.write(SINK, [connection("open", after_s=5)])
    assert state(shop) == ("stopped", False)
    assert release_number(shop.connection, NUMBER, "ana")
    assert state(shop) == ("active", False)


def test_an_operator_may_end_the_pause(shop: Corner) -> None:
    shop.write(SINK, [connection("close", 428)])
    assert release_number(shop.connection, NUMBER, "ana")
    assert state(shop) == ("active", False)
    shop.write(SINK, [connection("close", 428)])  # told once more
    assert state(shop) == ("active", False)


@pytest.mark.parametrize("code", [401, 402, 403, 406, 463])
def test_a_ban_is_a_quarantine_that_only_an_operator_ends(shop: Corner, code: int) -> None:
    shop.write(SINK, [connection("close", 428)])
    shop.write(SINK, [connection("close", code, after_s=1)])
    assert state(shop) == ("quarantined", False)
    shop.write(SINK, [connection("open", after_s=5)])
    assert state(shop) == ("quarantined", False)
    assert release_number(shop.connection, NUMBER, "ana")
    assert state(shop) == ("active", False)


def test_the_lock_of_new_chats_quarantines_and_the_delivery_waits_again(shop: Corner) -> None:
    call(shop, "sent")
    shop.rows("UPDATE deliveries SET provider_message_id = '3EB0', number_id = %s RETURNING 1", NUMBER)
    failed = {"keyId": "3EB0", "fromMe": True, "status": "ERROR", "messageStubParameters": ["463"]}
    shop.write(SINK, [webhook("messages.update", failed)])
    assert state(shop) == ("quarantined", False)
    assert shop.rows("SELECT state, attempts, route FROM deliveries") == [("waiting", 0, None)]


def call(corner: Corner, state: str) -> None:
    corner.rows("UPDATE deliveries SET state = %s, attempt_id = %s, attempts = 1 RETURNING 1", state, ATTEMPT)
    corner.rows(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, outcome, provider,"
        " provider_message_id, called_at) SELECT %s, delivery_id, %s, 1, %s, 'evolution', '3EB0',"
        " to_timestamp(%s / 1000.0) FROM deliveries RETURNING 1",
        ATTEMPT,
        NUMBER,
        state,
        NOW_MS,
    )


@pytest.mark.parametrize(("opened_after_s", "paused"), [(-1, True), (1, False)])
def test_an_answer_pauses_unless_the_session_came_back_after_the_call_began(
    shop: Corner, opened_after_s: float, paused: bool
) -> None:
    """With the statement that the sender writes its results with."""
    call(shop, "ambiguous")
    shop.write(SINK, [connection("open", after_s=opened_after_s)])
    pause(shop.connection)
    assert state(shop) == (("paused", True) if paused else ("active", False))


def pause(connection: Connection) -> None:
    """With the statements that the sender writes its results with."""
    given = {"number_id": NUMBER, "attempt_id": ATTEMPT, "reason": "connection closed"}
    connection.execute(statement("lock_number"), given)
    connection.execute(statement("pause_session"), given)


def test_an_answer_from_before_an_operators_release_pauses_nothing(shop: Corner) -> None:
    call(shop, "ambiguous")
    shop.rows("UPDATE delivery_attempts SET called_at = now() - interval '1 minute' RETURNING 1")
    hold_number(shop.connection, NUMBER, "looked at", "ana")
    assert release_number(shop.connection, NUMBER, "ana")
    pause(shop.connection)
    assert state(shop) == ("active", False)


def report(connection_: Connection) -> None:
    arrival = Arrival(Record("test", 0, 0, 0, None, None), connection("open", after_s=1))
    SINK.write(connection_, [arrival])


@pytest.mark.parametrize(
    ("first", "second"), [(pause, report), (report, pause)], ids=["answer-first", "notice-first"]
)
def test_no_pause_stays_where_an_answer_and_the_sessions_return_cross(
    shop: Corner, first: Change, second: Change
) -> None:
    """Neither has committed when the other begins: without locks neither would see the other."""
    call(shop, "ambiguous")
    shop.write(SINK, [connection("open", after_s=-60)])  # the account is learned: no lock for that
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    waiting += " AND datname = current_database()"

    def alone() -> None:
        with connect(shop.database_url, "second") as other, other.transaction():
            second(other)

    with ThreadPoolExecutor(1) as pool:
        with connect(shop.database_url, "first") as own, own.transaction():
            first(own)
            later = pool.submit(alone)
            until(lambda: shop.rows(waiting) == [(1,)], "the second to wait for the number")
        later.result(DEADLINE_S)
    assert state(shop) == ("active", False)

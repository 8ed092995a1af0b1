"""Every form of an opt-out, from whatever id of the person, on a real database: who is not written to."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.ids import contact_id
from sinks.delivery.webhooks.inbound import Decision, decide
from sinks.delivery.webhooks.inbound_events import enforce, list_events, window_until
from sinks.postgres.tables.deliveries import Deliveries
from sinks.whatsapp.meta_cloud.webhook import parse
from tests.sinks.delivery.webhooks.test_statuses import ATTEMPT, KEY, SINK, body, status, webhook
from tests.support.samples import NOW_MS, match
from tests.support.sinks import Corner

PHONE, WA_ID, OTHER_PHONE = "+5547989211984", "554789211984", "5511987654321"
USER = "BR.13491208655302741918"
ANA = contact_id(KEY, "demo", PHONE)
OTHER = contact_id(KEY, "demo", f"+{OTHER_PHONE}")


@pytest.fixture
def shop(corner: Corner) -> Corner:
    """Two tenants; number 1001 is of `demo`, which has sent wamid.1 to Ana."""
    for tenant in ("demo", "other"):
        corner.rows("INSERT INTO tenants (tenant_id, name) VALUES (%s, '') RETURNING 1", tenant)
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES ('1001', 'demo', 'meta-cloud', 'http://p', 'TOKEN') RETURNING 1"
    )
    corner.write(Deliveries(), [match(1, contact_id=ANA)])
    corner.rows(
        "UPDATE deliveries SET state = 'sent', attempt_id = %s, provider_message_id = 'wamid.1' RETURNING 1",
        ATTEMPT,
    )
    corner.rows(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, outcome)"
        " SELECT %s, delivery_id, '1001', 1, 'sent' FROM deliveries RETURNING 1",
        ATTEMPT,
    )
    return corner


def text(body: str, **more: Any) -> dict[str, Any]:
    said = {"from": WA_ID, "id": "in.1", "timestamp": str(NOW_MS // 1000), "type": "text"}
    return {
        key: value for key, value in (said | {"text": {"body": body}} | more).items() if value is not None
    }


def interactive(kind: str, **reply: str) -> dict[str, Any]:
    return text("", type="interactive", interactive={"type": kind, kind: reply})


def suppressed(corner: Corner) -> set[object]:
    rows = corner.rows("SELECT contact_id FROM suppressions WHERE tenant_id = 'demo' AND NOT lifted")
    return {contact for (contact,) in rows}


NOBODY_ELSE = [{"wa_id": WA_ID, "user_id": USER}]
FORMS: dict[str, dict[str, Any]] = {
    **{word: {"messages": [text(word)]} for word in ("CANCELAR", "PARE", "DESCADASTRAR", "sair por favor")},
    "template button": {"messages": [text("", type="button", button={"text": "Stop promotions"})]},
    "button payload": {"messages": [text("", type="button", button={"text": "Ok", "payload": "opt_out"})]},
    "button reply": {"messages": [interactive("button_reply", id="1", title="Parar promoções")]},
    "list reply": {"messages": [interactive("list_reply", id="7", title="Sair", description="x")]},
    "preference": {"user_preferences": [{"wa_id": WA_ID, "value": "stop"}]},
    "no from, context": {
        "messages": [text("stop", **{"from": None, "from_user_id": USER, "context": {"id": "wamid.1"}})]
    },
    "no from, contact beside": {
        "messages": [text("stop", **{"from": None, "from_user_id": USER})],
        "contacts": NOBODY_ELSE,
    },
    "business-scoped id as from, contact beside": {
        "messages": [text("stop", **{"from": USER})],
        "contacts": NOBODY_ELSE,
    },
    "preference by user id, contact beside": {
        "user_preferences": [{"user_id": USER, "value": "stop"}],
        "contacts": NOBODY_ELSE,
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_an_opt_out_of_any_form_is_in_force(shop: Corner, form: str) -> None:
    first = shop.write(SINK, [webhook(**FORMS[form])])
    again = shop.write(SINK, [webhook(**FORMS[form])])

    assert suppressed(shop) == {ANA}
    assert (first.rows, again.rows) == (1, 0)
    assert shop.rows("SELECT consent, resolved FROM inbound_events") == [("stop", True)]


@pytest.mark.parametrize("taught_by", ["status", "message"])
@pytest.mark.parametrize("taught_first", [True, False])
def test_an_opt_out_by_an_id_that_becomes_known_is_applied(
    shop: Corner, taught_by: str, taught_first: bool
) -> None:
    lesson = (
        webhook(status("delivered", recipient_user_id=USER))
        if taught_by == "status"
        else webhook(messages=[text("hello", id="in.2")], contacts=NOBODY_ELSE)
    )
    stop = webhook(user_preferences=[{"user_id": USER, "value": "stop"}])
    order = [lesson, stop] if taught_first else [stop, lesson]

    shop.write(SINK, order[:1])
    if not taught_first:
        assert suppressed(shop) == set()
        assert shop.rows("SELECT consent, resolved FROM inbound_events") == [("stop", False)]
    shop.write(SINK, order[1:])

    assert suppressed(shop) == {ANA}
    assert shop.rows("SELECT count(*) FROM inbound_events WHERE NOT resolved") == [(0,)]


def test_after_a_change_of_number_both_numbers_are_one_person(shop: Corner) -> None:
    change = text("", type="system", text=None, system={"type": "user_changed_number", "wa_id": OTHER_PHONE})
    shop.write(SINK, [webhook(messages=[change])])
    shop.write(SINK, [webhook(messages=[text("stop", id="in.2", **{"from": OTHER_PHONE})])])

    assert suppressed(shop) == {ANA, OTHER}


def test_a_recipient_id_that_is_another_phone_is_the_same_person(shop: Corner) -> None:
    shop.write(SINK, [webhook(status("delivered", recipient_id=OTHER_PHONE))])
    assert shop.rows("SELECT same_person('demo', %s) ORDER BY 1", OTHER) == [
        (one,) for one in sorted({ANA, OTHER})
    ]

    shop.write(SINK, [webhook(messages=[text("stop")])])
    assert suppressed(shop) == {ANA, OTHER}


def test_the_latest_of_stop_and_resume_counts_in_any_order(shop: Corner) -> None:
    at = NOW_MS // 1000
    told = [text("stop", id="1", timestamp=str(at - 9)), text("START", id="2", timestamp=str(at - 5))]
    for order in itertools.permutations(told):
        shop.rows("DELETE FROM suppressions RETURNING 1")
        for message in order:
            shop.write(SINK, [webhook(messages=[message])])
        assert suppressed(shop) == set()
    shop.write(SINK, [webhook(user_preferences=[{"wa_id": WA_ID, "value": "stop", "timestamp": at - 1}])])
    assert suppressed(shop) == {ANA}
    shop.write(SINK, [webhook(user_preferences=[{"wa_id": WA_ID, "value": "resume", "timestamp": at}])])
    assert suppressed(shop) == set()


@pytest.mark.parametrize("number", ["1001", "*", "none"])
@pytest.mark.parametrize("by", ["phone", "user id", "reply"])
def test_an_opt_in_counts_only_for_those_who_send_from_the_number(shop: Corner, number: str, by: str) -> None:
    """`demo` has number 1001, `other` sends from the shared one; 1003 is of nobody."""
    numbers = {"1001": "1001", "*": "1002", "none": "1003"}
    shop.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES ('1002', '*', 'meta-cloud', 'http://p', 'TOKEN') RETURNING 1"
    )
    contacts = {tenant: contact_id(KEY, tenant, PHONE) for tenant in ("demo", "other")}
    if by == "user id":  # which leads only to who has met the person; a phone leads to everybody
        shop.write(Deliveries(), [match(1, "other", tenant_id="other", contact_id=contacts["other"])])
    decide(shop.connection, [Decision(*whose, "", NOW_MS - 9_000, False) for whose in contacts.items()])

    forms: dict[str, dict[str, Any]] = {
        "phone": {},
        "user id": {"from": USER},
        "reply": {"context": {"id": "wamid.1"}},
    }
    said = forms[by]
    start = body(numbers[number], messages=[text("START", **said)])
    shop.write(SINK, [parse(start, NOW_MS)])
    if by == "user id":  # it is known only later whose it is
        lesson = body("1003", messages=[text("oi", id="in.2")], contacts=NOBODY_ELSE)
        shop.write(SINK, [parse(lesson, NOW_MS)])

    opted_in = {"1001": {"demo"}, "*": {"other"}, "none": set()}[number] | (
        {"demo"} if by == "reply" else set()
    )
    rows = shop.rows("SELECT tenant_id FROM suppressions WHERE lifted")
    assert {tenant for (tenant,) in rows} == opted_in


def test_a_lone_contact_beside_messages_of_two_people_is_not_both(shop: Corner) -> None:
    messages = [text("oi", **{"from": PHONE[1:]}), text("oi", id="in.2", **{"from": OTHER_PHONE})]
    shop.write(SINK, [webhook(messages=messages, contacts=[{"wa_id": PHONE[1:], "user_id": USER}])])
    beside_status = webhook(
        status("read"), messages=[text("oi", id="in.3", **{"from": OTHER_PHONE})], contacts=NOBODY_ELSE
    )
    shop.write(SINK, [beside_status])
    shop.write(SINK, [webhook(messages=[text("stop", id="in.4", **{"from": OTHER_PHONE})])])

    assert suppressed(shop) == {OTHER}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6), st.data())
def test_no_order_of_decisions_changes_the_end(
    shop: Corner, told: list[tuple[int, bool]], data: st.DataObject
) -> None:
    decisions = [Decision("demo", ANA, "", at, lifted) for at, lifted in told]
    cut = data.draw(st.integers(0, len(told)))
    shuffled = data.draw(st.permutations(decisions))
    latest = max(at for at, _ in told)

    shop.connection.execute("DELETE FROM suppressions")
    decide(shop.connection, shuffled[:cut])
    decide(shop.connection, shuffled[cut:])

    stopped = any(at == latest and not lifted for at, lifted in told)
    assert suppressed(shop) == ({ANA} if stopped else set())


def test_a_time_in_the_future_does_not_hold_an_opt_out_for_years(shop: Corner) -> None:
    shop.write(SINK, [webhook(messages=[text("stop", timestamp="2100000000")])])
    assert suppressed(shop) == {ANA}
    decide(shop.connection, [Decision("demo", ANA, "", NOW_MS + 1_000, True)])
    assert suppressed(shop) == set()


def test_a_sentence_that_has_the_word_is_kept_as_perhaps(shop: Corner) -> None:
    shop.write(SINK, [webhook(messages=[text("quero cancelar minha consulta")])])

    assert suppressed(shop) == set()
    assert shop.rows("SELECT consent, resolved FROM inbound_events") == [("perhaps", True)]


def test_the_opt_out_of_one_of_two_united_contacts_holds_for_both(shop: Corner) -> None:
    """Also one from before they proved to be one."""
    shop.write(SINK, [webhook(messages=[text("stop", id="in.0", **{"from": OTHER_PHONE})])])
    assert suppressed(shop) == {OTHER}
    shop.write(SINK, [webhook(status("read", recipient_id=OTHER_PHONE))])

    rows = shop.rows(
        "SELECT s.contact_id FROM same_person('demo', %s) AS p (id)"
        " JOIN suppressions AS s ON s.contact_id = p.id WHERE NOT lifted",
        ANA,
    )
    assert rows == [(OTHER,)]


def test_what_leads_to_nobody_is_stored_and_no_text_is_lost(shop: Corner) -> None:
    shop.write(SINK, [webhook(messages=[text("bom dia", **{"from": "US.77"})])])
    assert shop.rows("SELECT kind, text, resolved FROM inbound_events") == [("text", "bom dia", False)]
    (listed,) = list_events(shop.connection, consent=None, unresolved=True, limit=9)
    assert (listed.kind, listed.resolved) == ("text", False)
    assert "bom dia" not in str(listed)


def test_the_window_is_known_from_the_last_message_under_any_id(shop: Corner) -> None:
    assert window_until(shop.connection, "demo", ANA, "1001") is None
    at = NOW_MS // 1000
    shop.write(SINK, [webhook(messages=[text("oi", timestamp=str(at - 60))], contacts=NOBODY_ELSE)])
    by_user_id = text("oi", id="in.2", timestamp=str(at - 9), **{"from": USER})
    shop.write(SINK, [webhook(messages=[by_user_id])])
    shop.write(SINK, [webhook(user_preferences=[{"wa_id": WA_ID, "value": "resume", "timestamp": at}])])

    until = window_until(shop.connection, "demo", ANA, "1001")
    assert until is not None
    assert until.timestamp() == at - 9 + 86_400


def test_events_are_deleted_after_their_retention_and_an_unresolved_opt_out_stays_longer(
    shop: Corner,
) -> None:
    shop.write(SINK, [webhook(messages=[text("bom dia")])])
    shop.write(SINK, [webhook(messages=[text("stop", id="in.2", **{"from": "US.77"})])])
    shop.rows("UPDATE inbound_events SET received_at = now() - interval '91 days' RETURNING 1")

    enforce(shop.connection, 90, 730)
    assert shop.rows("SELECT consent, text FROM inbound_events") == [("stop", None)]
    assert shop.rows("SELECT count(DISTINCT event_id) FROM inbound_people") == [(1,)]

    shop.rows("UPDATE inbound_events SET received_at = now() - interval '731 days' RETURNING 1")
    enforce(shop.connection, 90, 730)
    assert shop.rows("SELECT 1 FROM inbound_events") == []

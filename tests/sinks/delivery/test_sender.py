"""The sender as a process, against the simulator as a process and a real PostgreSQL."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections import Counter
from pathlib import Path

from schemas.records import Message, Variable
from sinks.delivery import stop_switch
from sinks.delivery.rows import NEXT_WITH_FALLBACKS
from tests.support.sender_world import NUMBER, TENANT, World

PROCESSES = "SELECT count(*) FROM sender_processes"


def test_every_waiting_delivery_is_called_for_once(world: World) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 50)
    world.simulator()
    world.sender()
    world.wait_for(sent=50)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}


def test_each_kind_of_message_arrives_whole(world: World) -> None:
    name = Variable("name", "contact.name", fallback="amiga")
    score = Variable("score", "score")
    world.number()
    world.simulator()
    world.approve("welcome", language="en", parameters=2)
    for message in (
        Message(kind="text", text="Olá {name}, {score}!", variables=[name, score]),
        Message(kind="template", template="welcome", language="en", variables=[score, name]),
        Message(kind="image", image_url="https://example.com/a.png", text="{name}", variables=[name]),
    ):
        (contact,) = world.deliveries(world.campaign(message), variables='{"score": "8"}')
        if message.kind != "template":
            world.writes(contact)
    world.sender()
    world.wait_for(sent=3)
    requests = [message["request"] for message in world.command("GET", "messages")]
    sent = {request["type"]: request[request["type"]] for request in requests}
    assert sent["text"]["body"] == "Olá amiga, 8!"
    assert [one["text"] for one in sent["template"]["components"][0]["parameters"]] == ["8", "amiga"]
    assert sent["image"] == {"link": "https://example.com/a.png", "caption": "amiga"}


def test_a_message_carries_no_strangers_link_nor_a_text_that_is_too_long(world: World) -> None:
    answer = Variable("why", "answers.why", fallback="nada")
    message = Message(kind="text", text="Você disse: {why}", variables=[answer])
    world.number()
    world.simulator()
    with_link, too_long = (
        world.deliveries(world.campaign(message), variables=json.dumps({"why": why}))[0]
        for why in ("veja\nhttps://evil.example", "x" * 101)
    )
    for contact in (with_link, too_long):
        world.writes(contact)
    world.sender()
    world.wait_for(sent=2)
    requests = [message["request"] for message in world.command("GET", "messages")]
    assert {request["to"].removeprefix("+"): request["text"]["body"] for request in requests} == {
        world.phone(with_link): "Você disse: veja",
        world.phone(too_long): "Você disse: nada",
    }
    with urllib.request.urlopen(f"http://127.0.0.1:{world.metrics_port}/metrics", timeout=10) as response:
        shown = response.read().decode()
    assert 'quizstream_sender_values_changed_total{change="link removed"} 1.0' in shown
    assert 'quizstream_sender_values_changed_total{change="too long"} 1.0' in shown


def test_a_text_that_the_provider_rejects_gives_way_to_its_fallback_once(world: World) -> None:
    """Rejected: a name, a recipient whatever the message says, and one without a name to replace."""
    world.number()
    campaign = world.campaign()
    mocked, refused, nameless, other = world.deliveries(campaign, 4)
    for contact, name in ((mocked, "Bad Ana"), (refused, "Bea"), (other, "Caio")):
        world.db.execute("UPDATE contacts SET name = %s WHERE contact_id = %s", [name, contact])
    world.simulator()
    world.rule("error", code=131009, containing="Bad Ana")
    for contact in (refused, nameless):
        world.rule("error", code=132005, to=world.phone(contact))
    world.sender()
    world.wait_for(sent=2, failed=2)

    sent = {
        one["request"]["to"].removeprefix("+"): one["request"]["template"]["components"][0]["parameters"][0][
            "text"
        ]
        for one in world.command("GET", "messages")
    }
    assert sent == {world.phone(mocked): "you", world.phone(other): "Caio"}
    calls = Counter(call["to"] for call in world.calls())
    assert [calls[world.phone(one)] for one in (mocked, refused, nameless, other)] == [2, 2, 1, 1]
    assert world.state(refused)[0] == world.state(nameless)[0] == "failed"
    counted = world.db.execute("SELECT contact_id FROM campaign_rejections").fetchall()
    assert (mocked,) not in counted
    ends = "SELECT outcome, action, detail FROM delivery_attempts AS a JOIN deliveries USING (delivery_id)"
    first, second = world.db.execute(f"{ends} WHERE contact_id = %s ORDER BY a.attempt", [refused]).fetchall()
    assert (first[0], first[1], second[0], second[1]) == ("rejected", "fail_message") * 2
    assert NEXT_WITH_FALLBACKS in first[2]
    assert NEXT_WITH_FALLBACKS not in second[2]
    with urllib.request.urlopen(f"http://127.0.0.1:{world.metrics_port}/metrics", timeout=10) as response:
        shown = response.read().decode()
    assert 'quizstream_sender_values_changed_total{change="rejected"} 2.0' in shown


def test_who_cannot_get_a_whole_message_gets_none(world: World) -> None:
    world.number()
    campaign = world.campaign()
    (no_phone,) = world.deliveries(campaign, phone=False)
    needs_score = Message(kind="text", text="{score}", variables=[Variable("score", "score")])
    (no_score,) = world.deliveries(world.campaign(needs_score), variables='{"score": "None"}')
    (good,) = world.deliveries(campaign)
    world.simulator()
    world.sender()
    world.wait_for(failed=2, sent=1)
    assert world.state(no_phone) == ("failed", "the contact has no phone")
    assert world.state(no_score) == ("failed", 'variable "score" (score) has no value and no fallback')
    assert set(world.taken_by_recipient()) == {world.phone(good)}


def test_ten_senders_send_each_delivery_once(world: World) -> None:
    """All ten are ready before there is anything to send, and slow enough that none can take everything."""
    credentials = [f"TEST_TOKEN_{position}" for position in range(10)]
    numbers = [
        world.number(f"55110000010{position}", credential=credential, messages_per_s=2)
        for position, credential in enumerate(credentials)
    ]
    world.simulator()
    for credential in credentials:
        world.sender(env={credential: "quizstream-development-access-token"}, claim_batch_max=5)
    world.wait_until(lambda: world.leased_numbers() == set(numbers))
    contacts = world.deliveries(world.campaign(), 200)
    world.wait_for(sent=200)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}
    assert {call["number"] for call in world.calls()} == set(numbers)


def test_each_code_ends_in_its_state_and_harms_nobody_else(world: World) -> None:
    ends = {
        131026: "failed",
        131047: "failed",
        131050: "suppressed",
        131000: "ambiguous",
        131057: "dead",
        999999: "failed",  # in no list, answered with 400 and the error envelope
    }
    world.number()
    campaign = world.campaign()
    unlucky = dict(zip(ends, world.deliveries(campaign, len(ends)), strict=True))
    world.deliveries(campaign, 20)
    world.simulator()
    for code, contact in unlucky.items():
        world.rule("error", to=world.phone(contact), code=code)
    world.sender()
    world.wait_for(failed=3, suppressed=1, ambiguous=1, dead=1, sent=20)
    assert {code: world.state(contact)[0] for code, contact in unlucky.items()} == ends
    called = Counter(call["to"] for call in world.calls())
    assert {code: called[world.phone(contact)] for code, contact in unlucky.items()} == {
        code: 3 if state == "dead" else 1 for code, state in ends.items()
    }
    kept = world.db.execute(
        "SELECT DISTINCT provider, outcome, provider_code, action FROM delivery_attempts"
        " WHERE outcome <> 'sent'"
    ).fetchall()
    assert set(kept) == {
        ("meta-cloud", "rejected", "131026", "fail_recipient"),
        ("meta-cloud", "rejected", "131047", "fail_recipient"),
        ("meta-cloud", "rejected", "131050", "suppress"),
        ("meta-cloud", "ambiguous", "131000", None),
        ("meta-cloud", "rejected", "131057", "retry"),
        ("meta-cloud", "rejected", "999999", "fail_recipient"),
    }


def test_a_refused_pair_waits_and_is_then_sent(world: World) -> None:
    world.number()
    world.deliveries(world.campaign())
    world.simulator()
    world.rule("error", code=131056, count=1)
    world.sender()
    world.wait_for(sent=1)
    assert [call["code"] for call in world.calls()] == [131056, None]


def test_a_dead_token_pauses_the_number_and_loses_no_delivery(world: World) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 30)
    world.simulator()
    world.rule("error", code=190, name="expired")
    world.sender()
    world.wait_until(lambda: world.states() == {"waiting": 30} and len(world.calls()) > 0)
    assert world.db.execute("SELECT state FROM sender_numbers").fetchone() == ("paused",)
    assert len(world.calls()) <= 10
    world.command("DELETE", "rules")
    assert stop_switch.resume_sending(world.db, stop_switch.scope_of("number", NUMBER))
    world.wait_for(sent=30)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}
    assert world.db.execute("SELECT DISTINCT attempts FROM deliveries").fetchall() == [(1,)]


def test_a_template_that_does_not_exist_stops_its_campaign_and_no_other(world: World) -> None:
    world.number()
    bad = world.campaign(Message(kind="template", template="gone", language="en"))
    world.deliveries(bad, 40)
    world.deliveries(world.campaign(), 5)
    world.simulator()
    world.approve("gone", language="pt_BR")  # in another language alone
    world.sender()
    world.wait_until(lambda: world.states().get("sent") == 5 and "leased" not in world.states())
    world.wait_until(lambda: "calling" not in world.states())
    assert [stop.scope for stop in stop_switch.stops(world.db)] == [f"campaign:{bad}"]
    assert 1 <= world.states()["failed"] <= 10
    assert world.states()["failed"] + world.states()["waiting"] == 40


def test_too_fast_for_the_provider_is_only_slower(world: World) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 60)
    world.simulator()
    world.command("PATCH", "behaviour", {"messages_per_s": 20})
    world.sender()
    world.wait_for(sent=60)
    assert any(call["code"] == 130429 for call in world.calls())
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}


def test_the_provider_never_sees_more_than_the_limit_of_a_number(world: World) -> None:
    world.number(messages_per_s=30)
    world.deliveries(world.campaign(), 100)
    world.simulator()
    world.command("PATCH", "behaviour", {"messages_per_s": 30})
    world.sender()
    world.wait_for(sent=100)
    assert [call for call in world.calls() if call["code"] is not None] == []


def test_a_number_that_changes_hands_keeps_its_limit_in_every_window(world: World) -> None:
    """The next sender waits for it already, and gets it as soon as the first one stops."""
    world.number(messages_per_s=30)
    world.deliveries(world.campaign(), 300)
    world.simulator()
    world.command("PATCH", "behaviour", {"messages_per_s": 30})
    using = world.sender()
    world.wait_for_more_calls()
    for _ in range(3):
        waiting = world.sender()
        world.wait_until(lambda: world.db.execute(PROCESSES).fetchone() == (2,))
        world.wait_for_more_calls()
        using.send_signal(signal.SIGTERM)
        using.wait(timeout=60)
        using = waiting
        world.wait_for_more_calls()
    world.wait_for(sent=300)
    assert [call for call in world.calls() if call["code"] is not None] == []


def test_a_provider_that_is_away_costs_no_attempt(world: World) -> None:
    world.number()
    world.deliveries(world.campaign(), 20)
    sender = world.sender()
    world.wait_until(lambda: world.states() == {"leased": 20})
    world.simulator()
    world.wait_for(sent=20)
    assert sender.poll() is None
    assert world.db.execute("SELECT DISTINCT attempts FROM deliveries").fetchall() == [(1,)]


def test_stop_sending_stops_and_resume_sending_goes_on(world: World) -> None:
    world.number(messages_per_s=20)
    contacts = world.deliveries(world.campaign(), 60)
    world.simulator()
    world.sender()
    world.wait_until(lambda: len(world.calls()) >= 10)
    stop_switch.stop_sending(world.db, "global", "test")
    world.wait_until(lambda: set(world.states()) <= {"sent", "waiting"})
    calls = len(world.calls())
    assert world.states() == {"sent": calls, "waiting": 60 - calls}
    world.deliveries(world.campaign(), 5)
    world.wait_until(lambda: _renewed_once_more(world))
    assert len(world.calls()) == calls
    stop_switch.resume_sending(world.db, "global")
    world.wait_for(sent=65)
    assert set(world.taken_by_recipient().values()) == {1}
    assert set(world.taken_by_recipient()) >= {world.phone(contact) for contact in contacts}


def _renewed_once_more(world: World) -> bool:
    """The sender has been round its loops since the first time that this was asked."""
    row = world.db.execute("SELECT leased_until FROM sender_numbers").fetchone()
    assert row is not None
    first = world.remembered.setdefault("leased_until", row[0])
    return bool(row[0] > first)


def test_a_contact_who_opted_out_and_a_cancelled_campaign_are_not_written_to(world: World) -> None:
    world.number()
    campaign, cancelled = world.campaign(), world.campaign()
    silent, _ = world.deliveries(campaign, 2)
    world.deliveries(cancelled, 3)
    world.db.execute("INSERT INTO suppressions VALUES (%s, %s, 'STOP')", [TENANT, silent])
    world.db.execute("UPDATE campaigns SET cancelled_at = now() WHERE campaign_id = %s", [cancelled])
    world.simulator()
    world.sender()
    world.wait_for(suppressed=1, cancelled=3, sent=1)
    assert len(world.calls()) == 1


def test_sigterm_finishes_the_calls_in_flight_and_hands_everything_back(world: World) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 80)
    world.simulator()
    world.rule("answer", delay_s=0.7)
    first = world.sender()
    world.wait_until(lambda: len(world.calls()) >= 10)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=30) == 0
    calls = len(world.calls())
    assert world.states() == {"sent": calls, "waiting": 80 - calls}
    assert world.db.execute("SELECT leased_until <= clock_timestamp() FROM sender_numbers").fetchone() == (
        True,
    )
    world.command("DELETE", "rules")
    world.sender()
    world.wait_for(sent=80)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}


def test_secrets_and_phones_are_in_no_log(world: World, tmp_path: Path) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 5)
    world.simulator()
    world.rule("error", to=world.phone(contacts[0]), code=131000)
    world.sender()
    world.wait_for(sent=4, ambiguous=1)
    logs = "".join(file.read_text() for file in tmp_path.glob("sinks*.log"))
    assert "ambiguous" in logs
    assert "access-token" not in logs
    assert not any(world.phone(contact)[2:] in logs for contact in contacts)

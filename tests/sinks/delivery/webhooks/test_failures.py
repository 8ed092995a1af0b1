"""A failure by webhook has the consequence of the same failure in the answer, on a real database."""

from __future__ import annotations

import itertools
import json
import random
import uuid
from typing import Any

import pytest

from pipeline.runtime.record import Record
from schemas.codec import codec
from schemas.records import DeliveryEvent
from sinks.delivery import stop_switch
from sinks.delivery.consequences import RetryPolicy, consequence
from sinks.delivery.rows import NEXT_WITH_FALLBACKS
from sinks.delivery.state import DeliveryState
from sinks.delivery.statements import statement
from sinks.delivery.webhooks.failures import LIMITS, action_of, again
from sinks.delivery.webhooks.statuses import ProviderStatuses, merge_waiting
from sinks.outcomes import Rejected
from sinks.postgres.restore import history
from sinks.postgres.tables.deliveries import Deliveries
from sinks.whatsapp.meta_cloud.codes import action_of as action_of_code
from sinks.whatsapp.meta_cloud.codes import listed_codes
from tests.sinks.delivery.test_consequences import call
from tests.sinks.delivery.webhooks.test_statuses import ATTEMPT, delivery, state_of, status, webhook
from tests.support.samples import NOW_MS, match
from tests.support.sinks import Corner

SINK = ProviderStatuses(b"key of this test")
DAY_MS = 86_400_000
SOON_MS = 4_000_000_000_000  # a provider's time of which the pause has not passed


def number(corner: Corner, number_id: str = "1001", tenant: str = "demo", credential: str = "TOKEN") -> None:
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES (%s, %s, 'meta-cloud', 'http://p', %s) RETURNING 1",
        number_id, tenant, credential,
    )  # fmt: skip


def sent(corner: Corner, attempts: int = 1) -> None:
    """A delivery of the campaign `welcome` that number 1001 sent."""
    number(corner)
    delivery(corner, "sent", "wamid.1")
    corner.rows("UPDATE deliveries SET number_id = '1001', attempts = %s RETURNING 1", attempts)
    corner.rows("UPDATE delivery_attempts SET outcome = 'sent', provider_message_id = 'wamid.1' RETURNING 1")


def failed(code: object, **more: Any) -> Any:
    return webhook(status("failed", errors=[{"code": code, "title": "why"}], **more))


@pytest.mark.parametrize(
    ("code", "number_state", "stopped", "state"),
    [
        (131042, "stopped", [], "waiting"),
        (131031, "stopped", [], "waiting"),
        (368, "stopped", [], "waiting"),
        (131048, "quarantined", [], "waiting"),
        (190, "paused", [], "waiting"),
        (132015, "active", ["campaign:welcome"], "waiting"),
        (132001, "active", ["campaign:welcome"], "failed"),
        (130429, "active", [], "waiting"),
        (80007, "active", [], "waiting"),
        (131056, "active", [], "waiting"),
        (131049, "active", [], "waiting"),
        (131057, "active", [], "waiting"),
        (131026, "active", [], "failed"),
        (131053, "active", [], "failed"),
        (131000, "active", [], "failed"),
        (999999, "active", [], "failed"),
    ],
)
def test_an_error_by_webhook_has_the_consequence_of_the_answer(
    corner: Corner, code: int, number_state: str, stopped: list[str], state: str
) -> None:
    sent(corner)

    corner.write(SINK, [failed(code)])

    assert state_of(corner) == state
    assert corner.rows("SELECT state FROM sender_numbers") == [(number_state,)]
    assert [scope for (scope,) in corner.rows("SELECT scope FROM sending_stops")] == stopped
    assert corner.told()[-1].state == state
    assert corner.rows("SELECT count(*) FROM provider_statuses WHERE NOT merged") == [(0,)]


@pytest.mark.parametrize("code", listed_codes())
def test_a_listed_code_leaves_the_delivery_as_the_answer_does(code: int) -> None:
    """Where an answer is ambiguous (5xx) a status is not: it states that the message was not delivered."""
    listed = action_of_code(code, None)
    if listed is None:
        assert again(action_of("meta-cloud", [str(code)]), 1, LIMITS) is None
        return
    policy = RetryPolicy(LIMITS.attempts_max, base_s=5, max_s=600, jitter_ratio=0)
    made = call(attempts=1)
    answered = consequence(made, Rejected(listed, str(code), "why"), policy, random.Random(1))

    reported = again(action_of("meta-cloud", [str(code)]), 1, LIMITS)

    assert (reported is not None) == (answered.state == DeliveryState.WAITING)


def test_a_message_that_is_held_back_is_due_a_day_later_and_three_times_at_most(corner: Corner) -> None:
    sent(corner)

    corner.write(SINK, [failed(131049)])

    assert corner.rows(
        "SELECT state, reason, attempts, due_at = to_timestamp(%s) FROM deliveries", (NOW_MS + DAY_MS) // 1000
    ) == [("waiting", "131049 why", 1, True)]
    assert corner.rows("SELECT outcome, provider_code, action, detail FROM delivery_attempts") == [
        ("taken_back", "131049", "retry", "131049 why")
    ]
    corner.rows("UPDATE deliveries SET state = 'sent', attempts = 3 RETURNING 1")
    corner.rows("DELETE FROM provider_statuses RETURNING 1")
    corner.write(SINK, [failed(131049)])
    assert corner.rows("SELECT state, reason FROM deliveries") == [("failed", "131049 why")]


def test_what_holds_the_number_costs_no_attempt(corner: Corner) -> None:
    sent(corner, attempts=3)

    corner.write(SINK, [failed(131042)])

    assert corner.rows("SELECT state, attempts FROM deliveries") == [("waiting", 2)]


@pytest.mark.parametrize("order", list(itertools.permutations(["sent", "failed", "sent"])))
def test_sent_and_failed_in_any_order_come_to_the_same(corner: Corner, order: tuple[str, ...]) -> None:
    """A reported failure overrules `sent`, however late `sent` arrives."""
    sent(corner)

    for name in order:
        corner.write(SINK, [failed(131049) if name == "failed" else webhook(status("sent"))])
        merge_waiting(corner.connection)

    assert state_of(corner) == "waiting"
    assert corner.rows("SELECT outcome FROM delivery_attempts") == [("taken_back",)]
    assert corner.rows("SELECT count(*) FROM provider_statuses WHERE NOT merged") == [(0,)]


@pytest.mark.parametrize("proof", ["delivered", "read"])
@pytest.mark.parametrize("state", ["waiting", "leased", "calling"])
def test_a_message_that_arrived_after_all_is_not_sent_again(corner: Corner, proof: str, state: str) -> None:
    sent(corner)
    corner.write(SINK, [failed(131049)])
    corner.rows("UPDATE deliveries SET state = %s RETURNING 1", state)

    corner.write(SINK, [webhook(status(proof))])

    assert state_of(corner) == proof
    assert corner.rows("SELECT outcome FROM delivery_attempts") == [("sent",)]


def test_a_failure_of_an_earlier_attempt_does_not_touch_the_next_one(corner: Corner) -> None:
    sent(corner)
    corner.write(SINK, [failed(131049)])
    second = str(uuid.UUID(int=78))
    corner.rows(
        "UPDATE deliveries SET state = 'sent', attempt_id = %s, provider_message_id = 'wamid.2' RETURNING 1",
        second,
    )
    corner.rows(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, provider_message_id)"
        " SELECT %s, delivery_id, '1001', 2, 'wamid.2' FROM deliveries RETURNING 1",
        second,
    )

    corner.write(SINK, [failed(131049), webhook(status("sent"))])

    assert state_of(corner) == "sent"
    corner.write(SINK, [webhook(status("delivered", second, "wamid.2"))])
    assert state_of(corner) == "delivered"


@pytest.mark.parametrize("callback_data", [ATTEMPT, None])
@pytest.mark.parametrize("newest", ["calling", "ambiguous"])
def test_a_restored_doubt_is_not_settled_by_the_message_that_was_taken_back(
    corner: Corner, newest: str, callback_data: str | None
) -> None:
    """The copy is older than both calls: Kafka has the statuses of the first and the mark of the second."""
    number(corner)
    corner.write(Deliveries(), [match(1)])
    corner.write(SINK, [webhook(status("sent", callback_data)), failed(131049, attempt=callback_data)])
    second = str(uuid.UUID(int=78))
    history.keep(
        corner.connection,
        [
            told(corner, 2, "calling", ATTEMPT),
            told(corner, 3, "sent", ATTEMPT, "wamid.1"),
            told(corner, 4, "waiting", ATTEMPT, "wamid.1"),
            told(corner, 5, "calling", second),
            told(corner, 6, newest, second),
        ],
    )
    history.apply(corner.connection)

    merge_waiting(corner.connection)

    assert corner.rows("SELECT state, provider_message_id FROM deliveries") == [("ambiguous", None)]


def test_a_restored_delivery_that_waits_again_is_no_second_message(corner: Corner) -> None:
    number(corner)
    corner.write(Deliveries(), [match(1)])
    corner.write(SINK, [webhook(status("sent")), failed(131049)])
    waiting = [told(corner, 2, "calling", ATTEMPT), told(corner, 3, "waiting", ATTEMPT, "wamid.1")]
    history.keep(corner.connection, waiting)
    history.apply(corner.connection)
    assert corner.rows("SELECT outcome FROM delivery_attempts") == [("taken_back",)]

    merge_waiting(corner.connection)

    assert corner.rows(
        "SELECT state, due_at = to_timestamp(%s) FROM deliveries", (NOW_MS + DAY_MS) // 1000
    ) == [("waiting", True)]


@pytest.mark.parametrize("in_the_copy", [True, False])
def test_a_call_that_was_taken_back_after_the_copy_is_no_second_message(
    corner: Corner, in_the_copy: bool
) -> None:
    """Two calls were accepted, the first one was then reported as failed: the audit must know that."""
    second = str(uuid.UUID(int=78))
    if in_the_copy:
        sent(corner)
        corner.rows("UPDATE deliveries SET sequence = 3 RETURNING 1")
    else:
        number(corner)
        corner.write(Deliveries(), [match(1)])
    history.keep(
        corner.connection,
        [
            told(corner, 2, "calling", ATTEMPT),
            told(corner, 3, "sent", ATTEMPT, "wamid.1"),
            told(corner, 4, "waiting", ATTEMPT, "wamid.1"),
            told(corner, 5, "leased", ATTEMPT, "wamid.1"),
            told(corner, 6, "calling", second),
            told(corner, 7, "sent", second, "wamid.2"),
        ],
    )

    history.apply(corner.connection)

    attempts = "SELECT attempt_id::text, outcome, provider_message_id FROM delivery_attempts ORDER BY 1"
    assert corner.rows(attempts) == [
        (ATTEMPT, "taken_back", "wamid.1"),
        (second, "sent", "wamid.2"),
    ]


def told(corner: Corner, sequence: int, state: str, attempt_id: str, message_id: str | None = None) -> Record:
    """The record of the one delivery's event."""
    ((delivery_id, campaign_id, contact_id),) = corner.rows(
        "SELECT delivery_id::text, campaign_id, contact_id FROM deliveries"
    )
    event = DeliveryEvent(
        str(delivery_id), "demo", str(campaign_id), str(contact_id), str(uuid.uuid4()), sequence, state,
        at=NOW_MS, provider_message_id=message_id, attempts=1, attempt_id=attempt_id, number_id="1001",
    )  # fmt: skip
    return Record("delivery.events", 0, sequence, NOW_MS, b"k", codec("delivery_event").encode(event))


def test_a_delivery_whose_call_was_not_counted_has_no_attempt_to_give_back(corner: Corner) -> None:
    sent(corner, attempts=0)

    corner.write(SINK, [failed(131042)])

    assert corner.rows("SELECT state, attempts FROM deliveries") == [("waiting", 0)]


def test_the_late_result_of_a_call_does_not_undo_what_the_status_said(corner: Corner) -> None:
    """The call was given up as ambiguous; the provider said that it failed; then its answer is read."""
    number(corner)
    delivery(corner, "ambiguous")
    corner.write(SINK, [failed(131049)])
    assert state_of(corner) == "waiting"

    finished = {
        "attempt_ids": [ATTEMPT],
        "outcomes": ["sent"],
        "codes": [None],
        "actions": [None],
        "details": [""],
        "message_ids": ["wamid.1"],
    }
    corner.connection.execute(statement("finish_attempts"), finished)

    assert corner.rows("SELECT outcome FROM delivery_attempts") == [("taken_back",)]


@pytest.mark.parametrize(
    ("code", "paused"),
    [(130429, ["1001"]), (80007, ["1001", "1002"]), (4, ["1001", "1002"]), (131056, [])],
)
def test_a_limit_by_webhook_pauses_the_number_or_the_account(
    corner: Corner, code: int, paused: list[str]
) -> None:
    sent(corner)
    number(corner, "1002")
    number(corner, "1003", credential="ANOTHER")
    content = status("failed", errors=[{"code": code}], timestamp=str(SOON_MS // 1000))

    corner.write(SINK, [_received_at(content, SOON_MS)])

    found = corner.rows("SELECT number_id FROM sender_numbers WHERE paused_until > now() ORDER BY 1")
    assert [number_id for (number_id,) in found] == paused


def test_a_limit_that_is_past_pauses_nothing(corner: Corner) -> None:
    sent(corner)

    corner.write(SINK, [failed(130429, timestamp="1700000000")])

    assert corner.rows("SELECT paused_until FROM sender_numbers") == [(None,)]


def test_a_limit_of_no_message_pauses_the_number(corner: Corner) -> None:
    number(corner)

    corner.write(SINK, [_received_at(None, SOON_MS, errors=[{"code": 130429}])])

    assert corner.rows("SELECT paused_until > now(), state FROM sender_numbers") == [(True, "active")]


def test_a_template_that_is_paused_stops_every_campaign_that_has_it(corner: Corner) -> None:
    sent(corner)
    corner.rows("INSERT INTO tenants (tenant_id, name) VALUES ('demo', 'd'), ('other', 'o') RETURNING 1")
    for campaign, tenant, template in [
        ("welcome", "demo", "ola"),
        ("like-it", "demo", "ola"),
        ("unlike-it", "demo", "tchau"),
        ("of-others", "other", "ola"),
    ]:
        corner.rows(
            "INSERT INTO campaigns (campaign_id, tenant_id, month) VALUES (%s, %s, '2026-03-01') RETURNING 1",
            campaign, tenant,
        )  # fmt: skip
        corner.rows(
            "INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)"
            " VALUES (%s, 1, %s, now()) RETURNING 1",
            campaign, json.dumps({"message": {"template": template}}),
        )  # fmt: skip

    corner.write(SINK, [failed(132015)])

    stops = [scope for (scope,) in corner.rows("SELECT scope FROM sending_stops ORDER BY 1")]
    assert stops == ["campaign:like-it", "campaign:welcome"]


def test_recipients_rejected_alike_by_webhook_stop_the_campaign(corner: Corner) -> None:
    sent(corner)
    corner.rows(
        "INSERT INTO campaign_rejections (campaign_id, code, contact_id)"
        " SELECT 'welcome', '131053', 'c' || n FROM generate_series(2, 10) AS n RETURNING 1"
    )
    assert corner.rows("SELECT scope FROM sending_stops") == []

    corner.write(SINK, [failed(131053)])

    assert corner.rows("SELECT scope FROM sending_stops") == [("campaign:welcome",)]


def test_errors_of_no_message_hold_the_number(corner: Corner) -> None:
    number(corner)

    corner.write(SINK, [webhook(errors=[{"code": "131031", "title": "Account locked"}])])

    assert corner.rows("SELECT state, reason FROM sender_numbers") == [
        ("stopped", "reported by the provider: 131031")
    ]


@pytest.mark.parametrize("code", [131042, 131048, 190, 132015, 132001])
@pytest.mark.parametrize("late_s", [-60, 60])
def test_a_failure_of_before_a_release_neither_holds_nor_stops_again(
    corner: Corner, code: int, late_s: int
) -> None:
    sent(corner)
    for scope in ("number:1001", "campaign:welcome"):
        stop_switch.stop_sending(corner.connection, scope)
        assert stop_switch.resume_sending(corner.connection, scope)
    (released_s,) = corner.rows("SELECT extract(epoch FROM max(released_at))::bigint FROM sending_releases")[
        0
    ]
    at_s = int(str(released_s)) + late_s
    content = status("failed", errors=[{"code": code}], timestamp=str(at_s))

    corner.write(SINK, [_received_at(content, at_s * 1000)])

    held = corner.rows("SELECT state <> 'active' FROM sender_numbers") == [(True,)]
    stopped = corner.rows("SELECT scope FROM sending_stops") == [("campaign:welcome",)]
    assert held or stopped if late_s > 0 else not (held or stopped)


def test_a_release_is_noted_once_a_scope_and_old_ones_go(corner: Corner) -> None:
    for scope in ("number:1001", "campaign:old", "campaign:welcome", "campaign:welcome"):
        stop_switch.stop_sending(corner.connection, scope)
        assert stop_switch.resume_sending(corner.connection, scope)
        corner.rows(
            "UPDATE sending_releases SET released_at = now() - interval '9 days'"
            " WHERE scope = 'campaign:old' RETURNING 1"
        )
    assert not stop_switch.resume_sending(corner.connection, "tenant:demo")

    scopes = [scope for (scope,) in corner.rows("SELECT scope FROM sending_releases ORDER BY 1")]
    assert scopes == ["campaign:welcome", "number:1001"]


def _received_at(one: Any, received_at_ms: int, **value: Any) -> Any:
    from sinks.whatsapp.meta_cloud.webhook import parse
    from tests.sinks.delivery.webhooks.test_statuses import body

    return parse(body(statuses=[] if one is None else [one], **value), received_at_ms)


def typed(corner: Corner, name: str | None) -> None:
    """The campaign greets by name; the contact has stated this one."""
    message = {
        "kind": "template",
        "template": "ola",
        "variables": [{"name": "nome", "source": "contact.name", "fallback": "you"}],
    }
    definition = {
        "campaign_id": "welcome",
        "version": 1,
        "tenant_id": "demo",
        "name": "welcome",
        "quiz_ids": [],
        "active": True,
        "effective_at": 0,
        "month": 0,
        "conditions": [],
        "message": message,
    }
    corner.rows("INSERT INTO tenants (tenant_id, name) VALUES ('demo', 'd') RETURNING 1")
    corner.rows(
        "INSERT INTO campaigns (campaign_id, tenant_id, month)"
        " SELECT campaign_id, tenant_id, campaign_month FROM deliveries RETURNING 1"
    )
    corner.rows(
        "INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)"
        " SELECT campaign_id, campaign_version, %s, now() FROM deliveries RETURNING 1",
        json.dumps(definition),
    )
    corner.rows(
        "INSERT INTO contacts (tenant_id, contact_id, name, seen_at)"
        " SELECT tenant_id, contact_id, %s, now() FROM deliveries"
        " ON CONFLICT (tenant_id, contact_id) DO UPDATE SET name = excluded.name RETURNING 1",
        name,
    )


def test_a_content_rejected_by_webhook_is_tried_once_with_the_fallbacks(corner: Corner) -> None:
    sent(corner)
    typed(corner, "Ana")

    corner.write(SINK, [failed(131053)])

    assert corner.rows("SELECT state, reason, attempts, with_fallbacks FROM deliveries") == [
        ("waiting", f"131053 why; {NEXT_WITH_FALLBACKS}", 1, True)
    ]
    assert corner.rows("SELECT outcome, action FROM delivery_attempts") == [("taken_back", "fail_message")]
    assert corner.rows("SELECT count(*) FROM campaign_rejections") == [(0,)]
    corner.write(SINK, [failed(131053)])  # the provider repeats itself
    assert state_of(corner) == "waiting"

    corner.rows("UPDATE deliveries SET state = 'sent', attempts = 2 RETURNING 1")
    corner.rows("DELETE FROM provider_statuses RETURNING 1")
    corner.write(SINK, [failed(131053)])
    assert corner.rows("SELECT state, reason FROM deliveries") == [("failed", "131053 why")]
    assert corner.rows("SELECT code FROM campaign_rejections") == [("131053",)]


@pytest.mark.parametrize(("name", "code"), [(None, 131053), ("you", 131053), ("Ana", 131026)])
def test_without_another_text_a_rejection_by_webhook_is_final(
    corner: Corner, name: str | None, code: int
) -> None:
    sent(corner)
    typed(corner, name)

    corner.write(SINK, [failed(code)])

    assert state_of(corner) == "failed"


def test_a_message_of_another_version_of_the_program_is_not_tried_again(corner: Corner) -> None:
    sent(corner)
    typed(corner, "Ana")
    corner.rows("""UPDATE campaign_versions SET definition = '{"message": {"kind": 7}}' RETURNING 1""")

    corner.write(SINK, [failed(131053)])

    assert state_of(corner) == "failed"

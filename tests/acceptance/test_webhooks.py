"""Webhooks of every kind and form on the running product: each answered 200, none of them lost."""

from __future__ import annotations

import pytest

from schemas.ids import inbound_id
from sinks.whatsapp.meta_cloud.fates import rows
from tests.support import webhook_bodies
from tests.support.running_pipeline import Pipeline, until
from tests.support.signed_webhooks import post_body
from tests.support.webhook_bodies import DISPLAY, NUMBER, PERSON

pytestmark = pytest.mark.xdist_group("acceptance")

SOMEBODY = "5547988660001"  # nobody whom another test knows

NO_WEBHOOKS = [
    b"",
    b"[]",
    b"{",
    b"null",
    b'{"entry": 3}',
    b'{"a":' * 20_000,
    b'{"entry": [{"id": 1e400, "changes": [{"value": {"event": NaN}}]}]}',
]
ODD = [
    b'{"entry": [3, null, [], {"changes": 7}, {"changes": [1, {"value": []}, {"field": {}, "value": {}}]}]}',
    b'{"entry": [{"changes": [{"field": "messages", "value": {"messages": [{"from": "\xff"}]}}]}]}',
    b'{"entry": [{"changes": [{"field": "history", "value": {"history": {"threads": 1}}}]}]}',
]


def test_each_kind_and_form_is_taken_and_none_is_lost(pipeline: Pipeline) -> None:
    """The number is nobody's here, so that no other test's is held."""
    assert pipeline.settled().dead_webhooks == 0
    examples = webhook_bodies.examples()
    bodies = [example.body.replace(PERSON.encode(), SOMEBODY.encode()) for example in examples]

    assert {post_body(pipeline, body) for body in bodies} == {200}

    kinds = {row.kind for row in rows() if row.place == "messages"} | {"preference", "past_message"}
    stored = "SELECT DISTINCT kind FROM inbound_events WHERE number_id = %s"
    until(lambda: {kind for (kind,) in pipeline.rows(stored, NUMBER)} >= kinds, "every message is stored")
    noticed = {row.kind for row in rows() if row.place == "field" and row.fate != "counted"}
    noticed -= {"user_preferences", "user_id_update", "history", "standby"}
    notices = "SELECT DISTINCT kind FROM provider_notices WHERE account_id = %s"
    until(
        lambda: {kind for (kind,) in pipeline.rows(notices, webhook_bodies.ACCOUNT)} >= noticed,
        "every notice is stored",
    )
    told = {example.name for example in examples if example.place == "statuses"} - {"any other"}
    statuses = "SELECT DISTINCT status FROM provider_statuses WHERE provider_message_id = %s"
    until(
        lambda: (
            {status for (status,) in pipeline.rows(statuses, webhook_bodies.MESSAGE)}
            == {name for name in told if not name.startswith("of a call")}
        ),
        "every status is stored",
    )
    report = pipeline.settled()
    assert (report.dead_webhooks, report.ok) == (0, True), report.breaches
    assert (
        pipeline.value("SELECT count(*) FROM sender_numbers WHERE %s IN (number_id, display_phone)", DISPLAY)
        == 0
    )


def test_what_is_no_webhook_is_a_dead_letter_and_holds_up_none_that_is(pipeline: Pipeline) -> None:
    before = pipeline.settled().dead_webhooks
    stop = next(example.body for example in webhook_bodies.examples() if example.name == "text")
    stop = stop.replace(PERSON.encode(), b"5547988660002").replace(b"wamid.text", b"wamid.behind")
    behind = inbound_id("meta-cloud", "id", "wamid.behind", NUMBER)

    assert {post_body(pipeline, body) for body in [*NO_WEBHOOKS, *ODD, stop]} == {200}

    stored = "SELECT consent FROM inbound_events WHERE event_id = %s"
    until(lambda: pipeline.rows(stored, behind) == [("stop",)], "the opt-out behind them is stored")
    report = pipeline.settled()
    assert report.dead_webhooks - before == len(NO_WEBHOOKS)
    assert report.ok, report.breaches

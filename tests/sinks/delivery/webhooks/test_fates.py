"""An example of every kind of webhook goes through the sink: what becomes of it is what the table says."""

from __future__ import annotations

from prometheus_client import REGISTRY

from schemas.ids import contact_id
from sinks.delivery.webhooks.statuses import ProviderStatuses
from sinks.postgres.tables.deliveries import Deliveries
from sinks.whatsapp.meta_cloud.fates import rows
from sinks.whatsapp.meta_cloud.fates_document import DOCUMENT, document
from sinks.whatsapp.meta_cloud.webhook import parse
from tests.sinks.delivery.webhooks.test_notices import campaign
from tests.support import webhook_bodies
from tests.support.samples import match
from tests.support.sinks import Corner
from tests.support.webhook_bodies import ACCOUNT, DISPLAY, MESSAGE, NUMBER, PERSON, Example

KEY = b"key of this test"
RECEIVED_MS = (webhook_bodies.AT_S + 1) * 1000
LESS: dict[str, str] = {
    **dict.fromkeys(("interactive without its reply", "text of nulls"), "stored"),
    **{
        f"account_update: {name}": "stored"
        for name in (
            *("ad account", "certification", "country", "partner added", "partner's app installed"),
            *("prices by volume", "prices of authentication", "reconnected", "terms signed", "verified"),
        )
    },
    **{
        f"message_template_status_update: {name}": "stored"
        for name in ("approved", "flagged", "without an event")
    },
    **dict.fromkeys(("history: not shared", "history: thanks", "standby: nothing"), "counted"),
    "calls: failed": "stored",  # not less: its error is kept
}
"""Examples of which other follows than the most that follows from one of their kind."""
CHANGES = """
    SELECT (SELECT count(*) FROM suppressions WHERE NOT lifted), (SELECT count(*) FROM contact_aliases),
           (SELECT string_agg(state, ',') FROM deliveries), (SELECT count(*) FROM sending_stops),
           (SELECT string_agg(n.state || coalesce(n.provider_limit, ''), ',') FROM sender_numbers AS n)
"""
STORED = """
    SELECT (SELECT count(*) FROM provider_statuses), (SELECT count(*) FROM inbound_events),
           (SELECT count(*) FROM provider_notices)
"""


def test_the_document_shows_the_table() -> None:
    assert document() == DOCUMENT.read_text(encoding="utf-8"), (
        "run `python -m sinks.whatsapp.meta_cloud.fates_document`"
    )


def test_there_is_an_example_of_every_kind_and_no_kind_twice() -> None:
    table = [(row.place, row.kind) for row in rows()]
    assert len(table) == len(set(table))
    assert {(one.place, one.kind) for one in webhook_bodies.examples()} == set(table)


def test_each_example_has_the_fate_of_the_table(corner: Corner) -> None:
    """One transaction an example, which is then rolled back."""
    person = contact_id(KEY, "demo", f"+{PERSON}")
    corner.rows(
        "INSERT INTO sender_numbers"
        " (number_id, tenant_id, provider, base_url, credential, account_id, display_phone)"
        " VALUES (%s, 'demo', 'meta-cloud', 'http://p', 'TOKEN', %s, %s) RETURNING 1",
        NUMBER, ACCOUNT, DISPLAY,
    )  # fmt: skip
    campaign(corner, "uses-it", "ola")
    corner.write(Deliveries(), [match(1, contact_id=person)])
    corner.rows(
        "UPDATE deliveries SET state = 'sent', attempt_id = gen_random_uuid(), provider_message_id = %s,"
        " number_id = %s, attempts = 1 RETURNING 1",
        MESSAGE, NUMBER,
    )  # fmt: skip
    corner.rows(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, provider_message_id)"
        " SELECT attempt_id, delivery_id, number_id, 1, provider_message_id FROM deliveries RETURNING 1"
    )
    fates = {(row.place, row.kind): row.fate for row in rows()}

    wrong = {
        one.name: (fate, expected)
        for one in webhook_bodies.examples()
        if (fate := fate_of(corner, one)) != (expected := LESS.get(one.name, fates[one.place, one.kind]))
    }

    assert wrong == {}


def fate_of(corner: Corner, example: Example) -> str:
    webhook = parse(example.body, RECEIVED_MS)
    assert webhook.odd == 0, example.name
    with corner.connection.transaction(force_rollback=True):
        if example.name == "sent":
            corner.rows("UPDATE deliveries SET state = 'ambiguous' RETURNING 1")
        before, stored, counted = corner.rows(CHANGES), corner.rows(STORED), notices_counted()
        corner.write(ProviderStatuses(KEY), [webhook])
        if corner.rows(CHANGES) != before:
            return "applied"
        if corner.rows(STORED) != stored:
            return "stored"
        return "counted" if notices_counted() > counted else "lost"


def notices_counted() -> float:
    (metric,) = [one for one in REGISTRY.collect() if one.name == "quizstream_webhook_notices"]
    return sum(sample.value for sample in metric.samples if sample.name.endswith("_total"))

"""A provider's id of a person leads to the contact of the phone that the person typed."""

from __future__ import annotations

import pytest

from schemas.ids import contact_id
from schemas.phones import canonical
from sinks.delivery.people.aliases import people_of
from sinks.delivery.webhooks.inbound import BEGINNING, store, sweep
from sinks.webhook import Inbound
from tests.support.sinks import Corner

KEY = b"key of this test"


@pytest.mark.parametrize(
    ("typed", "wa_id"),
    [
        ("11 99987-7760", "551199877760"),
        ("19 98765-4321", "551987654321"),
        ("47 97700-1234", "554777001234"),
        ("+54 11 3456-7812", "5491134567812"),
        ("+54 9 11 3456-7812", "541134567812"),
        ("+52 55 1234 5678", "5215512345678"),
    ],
)
def test_a_stop_reaches_the_contact_of_the_typed_phone(corner: Corner, typed: str, wa_id: str) -> None:
    corner.rows("INSERT INTO tenants (tenant_id, name) VALUES ('demo', 'demo') RETURNING 1")
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES ('1001', 'demo', 'p', 'http://p', 'TOKEN') RETURNING 1"
    )
    person = contact_id(KEY, "demo", canonical(typed) or "")

    stop = Inbound((wa_id,), "1001", "text", 1, texts=("stop",))
    report = store(corner.connection, [("p", stop, False)], KEY)

    assert report.decided == 1
    assert corner.rows("SELECT contact_id FROM suppressions") == [(person,)]


def test_a_stored_stop_is_applied_to_each_tenant_when_a_sender_has_learned_the_alias(corner: Corner) -> None:
    """A sender, and a process at the same time, apply nothing themselves: the maintenance does."""
    for tenant in ("one", "two"):
        corner.rows("INSERT INTO tenants (tenant_id, name) VALUES (%s, '') RETURNING 1", tenant)
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES ('1001', '*', 'p', 'http://p', 'TOKEN') RETURNING 1"
    )
    stop = Inbound(("BR.134912345",), "1001", "text", 1, texts=("stop",))
    assert store(corner.connection, [("p", stop, False)], KEY).decided == 0
    corner.connection.commit()
    expected = []
    for tenant in ("one", "two"):
        alias = people_of(KEY, [tenant], stop.ids)[0].person
        corner.rows(
            "INSERT INTO contact_aliases (tenant_id, alias, contact_id, is_contact, source)"
            " VALUES (%s, %s, 'person', false, 'answer') RETURNING 1",
            tenant,
            alias,
        )
        corner.connection.commit()
        assert sweep(corner.connection, BEGINNING) == (BEGINNING, 1)
        assert sweep(corner.connection, BEGINNING) == (BEGINNING, 0)
        expected.append((tenant, "person"))
        assert corner.rows("SELECT tenant_id, contact_id FROM suppressions ORDER BY 1") == expected
        assert corner.rows("SELECT resolved FROM inbound_events") == [(tenant == "two",)]
    assert corner.rows("SELECT tenant_id, person FROM inbound_people ORDER BY 1") == expected

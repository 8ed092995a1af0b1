"""What operators do to the catalogue: refused as a whole or saved with its entry in the audit log."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.ids import contact_id
from schemas.phones import Rejected
from schemas.records import Message, Question, Tenant
from sinks.delivery.stop_switch import hold_number, release_number, stop_sending, stops
from sinks.postgres.audit_log import entries
from sinks.postgres.catalogue.campaigns import CampaignDraft
from sinks.postgres.catalogue.numbers import NumberDraft, NumberRejected, UnknownNumber, list_numbers
from sinks.postgres.catalogue.operations import (
    add_campaign,
    add_number,
    add_quiz,
    add_suppressions,
    add_tenant,
    change_limits,
    change_token,
    end_campaign,
    remove_suppression,
)
from sinks.postgres.catalogue.quizzes import QuizDraft, list_quizzes
from sinks.postgres.catalogue.rejections import UnknownTenant
from sinks.postgres.catalogue.suppressions import (
    SuppressionRejected,
    contact_of_phone,
    list_suppressions,
    require_key,
)
from sinks.postgres.catalogue.tenants import TenantRejected, get_limits, list_tenants
from sinks.postgres.restore.catalogue import restore_catalogue
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner

ANA = "ana"
KEY = b"a key"
PHONE = "+5547989211984"
QUIZ = QuizDraft("feedback", "acme", "Feedback", [Question("q1")])
CAMPAIGN = CampaignDraft("club", "acme", "Club", ["feedback"], Message("text", text="Hello"))
NUMBER = NumberDraft("5511", "acme", "meta-cloud", "https://graph.facebook.com", "ACME_TOKEN")


@pytest.fixture
def acme(corner: Corner) -> Corner:
    add_tenant(corner.connection, ANA, "acme", "Acme Ltda")
    return corner


def told(corner: Corner) -> list[tuple[str, str]]:
    listed = entries(corner.connection, limit=100).items
    assert {entry.actor for entry in listed} <= {ANA}
    return [(entry.action, entry.subject) for entry in reversed(listed)]


def test_every_action_leaves_one_entry_and_its_repetition_none(acme: Corner) -> None:
    limits = acme.topology.campaigns
    for _ in range(2):
        add_tenant(acme.connection, ANA, "acme", "Acme Ltda")
        add_quiz(acme.connection, ANA, QUIZ, NOW_MS)
        add_campaign(acme.connection, ANA, CAMPAIGN, limits, NOW_MS)
        add_number(acme.connection, ANA, NUMBER)
        add_suppressions(acme.connection, ANA, "acme", ["c1"], "asked for")
        hold_number(acme.connection, "5511", "moved", ANA)
    for _ in range(2):
        release_number(acme.connection, "5511", ANA)
        remove_suppression(acme.connection, ANA, "acme", "c1", "consent in ticket 1")
        end_campaign(acme.connection, ANA, "club", NOW_MS + 10_000)
    change_token(acme.connection, ANA, "secret", "acme")

    assert told(acme) == [
        ("tenant.add", "acme"),
        ("quiz.add", "feedback"),
        ("campaign.save", "club"),
        ("number.add", "5511"),
        ("suppression.add", "c1"),
        ("number.hold", "5511"),
        ("sending.resume", "number:5511"),
        ("suppression.remove", "c1"),
        ("campaign.cancel", "club"),
        ("token.create", "acme"),
    ]
    assert "secret" not in str(entries(acme.connection, limit=1).items)


def test_a_tenants_own_limits_are_published_and_audited(acme: Corner) -> None:
    """A change of one limit leaves the others, and a repetition leaves no trace."""
    acme.make_topics("tenants")
    steps: list[dict[str, int | None]] = [
        {"address": 500, "tenant_day": 50_000},
        {"address": 500},
        {"tenant_day": None, "quiz": 9},
        {"quiz": None},
    ]
    found = [change_limits(acme.connection, ANA, "acme", step) for step in steps]
    assert found == [
        ({"address": 500, "tenant_day": 50_000}, True),
        ({"address": 500, "tenant_day": 50_000}, False),
        ({"address": 500, "quiz": 9}, True),
        ({"address": 500}, True),
    ]
    assert acme.told("tenants") == [
        Tenant("acme", version, own) for version, own in enumerate([found[0][0], found[2][0], found[3][0]], 1)
    ]
    assert told(acme) == [("tenant.add", "acme"), *[("tenant.limits", "acme")] * 3]
    assert entries(acme.connection, limit=1, subject="acme").items[0].detail == {"quiz": None}
    assert [one.limits for one in list_tenants(acme.connection, limit=9).items] == [{"address": 500}]
    assert not add_tenant(acme.connection, ANA, "acme", "Acme Ltda"), "it has the same name"
    assert get_limits(acme.connection, "acme") == {"address": 500}


def test_limits_that_cannot_be_are_refused(acme: Corner) -> None:
    with pytest.raises(TenantRejected, match='there is no limit "adress": one of address') as refused:
        change_limits(acme.connection, ANA, "acme", {"adress": 5, "quiz": 0, "token": 10**12})
    assert len(refused.value.problems) == 3
    with pytest.raises(TenantRejected):
        change_limits(acme.connection, ANA, "acme", {"nothing": None})
    for call in (
        lambda: change_limits(acme.connection, ANA, "b", {"quiz": 5}),
        lambda: get_limits(acme.connection, "b"),
    ):
        with pytest.raises(UnknownTenant):
            call()
    assert told(acme) == [("tenant.add", "acme")]


def test_a_restored_catalogue_has_the_limits_that_are_in_force(acme: Corner) -> None:
    acme.make_topics("tenants", "quizzes", "tokens", "campaigns", "webhook_keys")
    change_limits(acme.connection, ANA, "acme", {"quiz": 5})
    acme.produce("tenants", [Tenant("acme", 2, {"quiz": 7}), Tenant("new", 1, {"address": 1})])
    assert restore_catalogue(acme.connection, acme.topology, acme.bootstrap) == 2
    assert restore_catalogue(acme.connection, acme.topology, acme.bootstrap) == 0
    assert [get_limits(acme.connection, name) for name in ("acme", "new")] == [{"quiz": 7}, {"address": 1}]


def test_an_action_that_is_refused_changes_nothing_and_leaves_no_entry(acme: Corner) -> None:
    before = told(acme)
    with pytest.raises(NumberRejected):
        add_number(acme.connection, ANA, msgspec.structs.replace(NUMBER, tenant_id="other"))
    with pytest.raises(UnknownTenant):
        change_token(acme.connection, ANA, "secret", "other")
    with pytest.raises(TenantRejected, match="its id must be letters"):
        add_tenant(acme.connection, ANA, "*", "Everybody")
    assert told(acme) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"provider": "whatsap"}, 'there is no provider "whatsap": one of evolution, meta-cloud'),
        ({"base_url": "graph.facebook.com"}, "its address must be an http"),
        ({"base_url": "ftp://graph.facebook.com"}, "its address must be an http"),
        ({"base_url": "https://user:secret@host"}, "its address must be an http"),
        ({"base_url": "https://host:99999"}, "its address must be an http"),
        ({"base_url": "https://host/a b"}, "its address must be an http"),
        ({"base_url": "https://host/?token=1"}, "its address must be an http"),
        ({"credential": "EAAGm0PX4ZCpsBAsecret"}, "NAME of an environment variable"),
        ({"tenant_id": "acmee"}, 'there is no tenant "acmee"'),
        ({"messages_per_s": 0}, "its pace must lie between"),
        ({"number_id": "55 11"}, "its id must be"),
    ],
)
def test_a_number_that_cannot_send_is_refused(acme: Corner, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NumberRejected, match=said) as refused:
        add_number(acme.connection, ANA, msgspec.structs.replace(NUMBER, **changes))
    assert "secret" not in str(refused.value)


def test_numbers_are_listed_with_their_holds_and_stops(acme: Corner) -> None:
    for number_id in ("1", "2", "3"):
        add_number(acme.connection, ANA, msgspec.structs.replace(NUMBER, number_id=number_id))
    add_number(acme.connection, ANA, msgspec.structs.replace(NUMBER, number_id="4", tenant_id="*"))
    assert hold_number(acme.connection, "2", "moved")
    assert not hold_number(acme.connection, "2", "later")
    stop_sending(acme.connection, "number:3")
    with pytest.raises(UnknownNumber):
        hold_number(acme.connection, "9", "moved")
    with pytest.raises(UnknownNumber):
        release_number(acme.connection, "9")

    page = list_numbers(acme.connection, limit=10, tenant_id="acme")
    assert [(one.number_id, one.state, one.reason, one.stopped) for one in page.items] == [
        ("1", "active", "", False),
        ("2", "stopped", "moved", False),
        ("3", "active", "", True),
    ]
    assert [one.number_id for one in list_numbers(acme.connection, limit=10, after="2").items] == ["3", "4"]

    assert release_number(acme.connection, "2")
    assert release_number(acme.connection, "3")
    assert not release_number(acme.connection, "3")
    assert stops(acme.connection) == []
    assert {one.state for one in list_numbers(acme.connection, limit=10).items} == {"active"}


def test_lists_are_read_a_page_at_a_time(acme: Corner) -> None:
    for tenant in ("b", "c"):
        add_tenant(acme.connection, ANA, tenant, tenant)
    for quiz in ("q1", "q2", "q3"):
        add_quiz(acme.connection, ANA, msgspec.structs.replace(QUIZ, quiz_id=quiz), NOW_MS)

    first = list_tenants(acme.connection, limit=2)
    assert ([one.tenant_id for one in first.items], first.next) == (["acme", "b"], "b")
    rest = list_tenants(acme.connection, limit=2, after=first.next)
    assert ([one.tenant_id for one in rest.items], rest.next) == (["c"], None)
    page = list_quizzes(acme.connection, limit=2, after="q1", tenant_id="acme")
    assert ([(one.quiz_id, one.questions) for one in page.items], page.next) == ([("q2", 1), ("q3", 1)], None)
    assert list_quizzes(acme.connection, limit=2, tenant_id="b").items == []


def test_suppressions_of_an_import_are_saved_once_and_listed_with_known_phones(acme: Corner) -> None:
    known = contact_of_phone(KEY, "acme", "(47) 98921-1984")
    assert known == contact_id(KEY, "acme", PHONE)
    acme.connection.execute(
        "INSERT INTO contacts (tenant_id, contact_id, phone, seen_at) VALUES ('acme', %s, %s, now())",
        [known, PHONE],
    )
    assert add_suppressions(acme.connection, ANA, "acme", [known, "c2", "c2"], "imported") == 2
    assert add_suppressions(acme.connection, ANA, "acme", [known, "c3"], "imported again") == 1

    listed = list_suppressions(acme.connection, "acme", limit=10)
    assert {one.contact_id: (one.phone, one.reason) for one in listed.items} == {
        known: (PHONE, "imported"),
        "c2": (None, "imported"),
        "c3": (None, "imported again"),
    }
    assert (
        list_suppressions(acme.connection, "acme", limit=10, after=listed.items[1].contact_id).items
        == (listed.items[2:])
    )
    assert told(acme)[-1] == ("suppression.add", "acme")


def test_another_contact_key_than_the_deployments_is_refused(acme: Corner) -> None:
    """With it the suppression would be of a contact that nobody is."""
    require_key(acme.connection, b"another key", "acme")  # without a contact nothing can be known
    acme.connection.execute(
        "INSERT INTO contacts (tenant_id, contact_id, phone, seen_at) VALUES ('acme', %s, %s, now())",
        [contact_id(KEY, "acme", PHONE), PHONE],
    )
    require_key(acme.connection, KEY, "acme")
    with pytest.raises(SuppressionRejected, match="QUIZSTREAM_CONTACT_KEY"):
        require_key(acme.connection, b"another key", "acme")
    with pytest.raises(UnknownTenant):
        require_key(acme.connection, KEY, "other")
    assert isinstance(contact_of_phone(KEY, "acme", "123"), Rejected)

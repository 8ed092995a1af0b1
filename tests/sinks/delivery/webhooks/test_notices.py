"""What a provider reports about accounts, numbers and templates is stored once and in force at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sinks.delivery.webhooks import notices
from sinks.delivery.webhooks.notices import list_notices
from sinks.delivery.webhooks.statuses import ProviderStatuses
from sinks.postgres import metrics
from sinks.webhook import Webhook
from sinks.whatsapp.meta_cloud.webhook import parse
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner

ACCOUNT = "102290129340398"
NOW_S = NOW_MS // 1000


def change(field: str, value: dict[str, Any], *, account: str = ACCOUNT, at_s: int = NOW_S) -> Webhook:
    entry = {"id": account, "time": at_s, "changes": [{"field": field, "value": value}]}
    content = {"object": "whatsapp_business_account", "entry": [entry]}
    return parse(json.dumps(content).encode(), NOW_MS)


def of_number(number: str = "1001", account: str = ACCOUNT, phone: str = "15550001001") -> Webhook:
    """Any webhook of a number: it teaches whose account it is."""
    metadata = {"phone_number_id": number, "display_phone_number": phone}
    return change("messages", {"metadata": metadata, "statuses": []}, account=account)


def number(corner: Corner, number_id: str = "1001", tenant: str = "demo") -> None:
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES (%s, %s, 'meta-cloud', 'http://p', 'TOKEN') RETURNING 1",
        number_id, tenant,
    )  # fmt: skip


def campaign(
    corner: Corner, campaign_id: str, template: str, tenant: str = "demo", lang: str = "pt_BR"
) -> None:
    corner.rows(
        "INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)"
        " ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name RETURNING 1",
        tenant, tenant,
    )  # fmt: skip
    corner.rows(
        "INSERT INTO campaigns (campaign_id, tenant_id, month) VALUES (%s, %s, '2026-03-01') RETURNING 1",
        campaign_id, tenant,
    )  # fmt: skip
    message = {"template": template, "language": lang}
    corner.rows(
        "INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)"
        " VALUES (%s, 1, %s, now()) RETURNING 1",
        campaign_id, json.dumps({"message": message}),
    )  # fmt: skip


def states(corner: Corner) -> dict[object, object]:
    return dict(corner.rows("SELECT number_id, state FROM sender_numbers"))  # type: ignore[arg-type]


def stops(corner: Corner) -> list[object]:
    return [scope for (scope,) in corner.rows("SELECT scope FROM sending_stops ORDER BY 1")]


def outcomes(corner: Corner) -> list[str]:
    return [one.outcome for one in list_notices(corner.connection, outcome=None, limit=50)]


FORBIDDEN: list[dict[str, Any]] = [
    {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "ADULT"}},
    {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": ["DISABLE"], "waba_ban_date": "June 1"}},
    {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE"}},
    {
        "event": "ACCOUNT_RESTRICTION",
        "restriction_info": [{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1}],
    },
    {"event": "ACCOUNT_DELETED"},
    {"event": "PARTNER_REMOVED", "waba_info": {"waba_id": ACCOUNT, "owner_business_id": "2"}},
]
HARMLESS: list[dict[str, Any]] = [
    {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}},
    {
        "event": "ACCOUNT_RESTRICTION",
        "restriction_info": [{"restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION"}],
    },
    {"event": "VERIFIED_ACCOUNT", "phone_number": "15550001001"},
    {"event": "VOLUME_BASED_PRICING_TIER_UPDATE", "volume_tier_info": {"tier": "1:2"}},
]


@pytest.mark.parametrize("value", FORBIDDEN)
def test_an_account_that_may_not_send_holds_its_numbers_and_no_others(
    corner: Corner, value: dict[str, Any]
) -> None:
    for one in ("1001", "1002", "2001"):
        number(corner, one)
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number("1001"), of_number("1002", phone="15550001002")])
    corner.write(sink, [of_number("2001", account="999", phone="15550002001")])

    corner.write(sink, [change("account_update", value)])

    assert states(corner) == {"1001": "stopped", "1002": "stopped", "2001": "active"}
    (reason,) = corner.rows("SELECT DISTINCT reason FROM sender_numbers WHERE state = 'stopped'")[0]
    assert str(value["event"]).lower() in str(reason)
    assert outcomes(corner) == ["held"]


@pytest.mark.parametrize("value", HARMLESS)
def test_an_account_update_that_forbids_nothing_is_stored(corner: Corner, value: dict[str, Any]) -> None:
    number(corner)
    corner.write(ProviderStatuses(b"key"), [of_number(), change("account_update", value)])

    assert states(corner) == {"1001": "active"}
    assert outcomes(corner) == [""]


def test_a_repeat_does_not_hold_again_what_an_operator_released(corner: Corner) -> None:
    number(corner)
    sink = ProviderStatuses(b"key")
    notice = change("account_update", FORBIDDEN[0])
    corner.write(sink, [of_number(), notice])
    corner.rows("UPDATE sender_numbers SET state = 'active' RETURNING 1")

    corner.write(sink, [notice, notice])

    assert states(corner) == {"1001": "active"}
    assert outcomes(corner) == ["held"]


def test_a_notice_of_an_unknown_account_is_in_force_once_a_number_proves_to_be_of_it(corner: Corner) -> None:
    number(corner)
    sink = ProviderStatuses(b"key")
    corner.write(sink, [change("account_update", FORBIDDEN[0])])
    assert (states(corner), outcomes(corner)) == ({"1001": "active"}, ["unresolved"])
    notices.enforce(corner.connection, days=365)

    corner.write(sink, [of_number(account="999")])
    assert states(corner) == {"1001": "active"}
    corner.write(sink, [of_number()])

    assert (states(corner), outcomes(corner)) == ({"1001": "stopped"}, ["held"])


def test_an_old_hold_after_the_end_of_it_is_outdated(corner: Corner) -> None:
    number(corner)
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), change("account_update", HARMLESS[0])])

    corner.write(sink, [change("account_update", FORBIDDEN[1], at_s=NOW_S - 60)])

    assert (states(corner), outcomes(corner)) == ({"1001": "active"}, ["outdated", ""])


@pytest.mark.parametrize("newer", HARMLESS[1:])
def test_a_hold_that_comes_late_counts_where_nothing_newer_ended_it(
    corner: Corner, newer: dict[str, Any]
) -> None:
    number(corner)
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), change("account_update", newer)])

    corner.write(sink, [change("account_update", FORBIDDEN[1], at_s=NOW_S - 60)])

    assert states(corner) == {"1001": "stopped"}


def test_a_notice_with_the_phone_of_another_accounts_number_does_not_hold_it(corner: Corner) -> None:
    number(corner)
    number(corner, "2001", tenant="other")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), of_number("2001", account="999", phone="15550002001")])

    corner.write(sink, [change("account_update", {**FORBIDDEN[0], "phone_number": "15550002001"})])

    assert states(corner) == {"1001": "stopped", "2001": "active"}


def test_every_notice_that_came_before_its_number_is_put_in_force(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "UNRESOLVED_BATCH_MAX", 2)
    number(corner)
    campaign(corner, "uses-it", "ola")
    sink = ProviderStatuses(b"key")
    early = [quality("UPGRADE", at_s=NOW_S - ago, account=ACCOUNT) for ago in range(60, 65)]
    corner.write(sink, [*early, template_status("PAUSED")])
    assert outcomes(corner) == ["unresolved"] * 6

    corner.write(sink, [of_number()])

    assert stops(corner) == ["campaign:uses-it"]
    assert "unresolved" not in outcomes(corner)


@pytest.mark.parametrize("event", ["PAUSED", "DISABLED", "REJECTED"])
def test_a_template_that_may_not_be_used_stops_the_campaigns_that_use_it(corner: Corner, event: str) -> None:
    number(corner)
    number(corner, "2001", tenant="other")
    campaign(corner, "uses-it", "ola")
    campaign(corner, "in-another-language", "ola", lang="en_US")
    campaign(corner, "uses-another", "tchau")
    campaign(corner, "of-another-account", "ola", tenant="other")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), of_number("2001", account="999", phone="15550002001")])

    corner.write(sink, [template_status(event)])

    assert stops(corner) == ["campaign:uses-it"]
    assert outcomes(corner) == ["stopped"]


@pytest.mark.parametrize("event", ["APPROVED", "FLAGGED", "PENDING_DELETION", "REINSTATED"])
def test_a_template_that_may_still_be_used_stops_nothing(corner: Corner, event: str) -> None:
    number(corner)
    campaign(corner, "uses-it", "ola")

    corner.write(ProviderStatuses(b"key"), [of_number(), template_status(event)])

    assert stops(corner) == []


def test_a_pause_that_comes_after_its_end_stops_nothing(corner: Corner) -> None:
    number(corner)
    campaign(corner, "uses-it", "ola")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), template_status("APPROVED")])

    corner.write(sink, [template_status("PAUSED", at_s=NOW_S - 60)])

    assert stops(corner) == []


def test_a_shared_number_stops_the_tenants_without_a_number_of_their_own(corner: Corner) -> None:
    number(corner, tenant="*")
    number(corner, "2001", tenant="other")
    campaign(corner, "of-demo", "ola")
    campaign(corner, "of-other", "ola", tenant="other")

    corner.write(ProviderStatuses(b"key"), [of_number(), template_status("DISABLED")])

    assert stops(corner) == ["campaign:of-demo"]


def test_the_limit_of_a_number_is_shown_and_the_latest_counts(corner: Corner) -> None:
    number(corner)
    number(corner, "1002")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), of_number("1002", phone="15550001002", account="999")])

    corner.write(sink, [quality("DOWNGRADE", current_limit="TIER_1K", old_limit="TIER_10K")])
    corner.write(sink, [quality("FLAGGED", max_daily_conversations_per_business="TIER_2K", at_s=NOW_S - 60)])

    assert corner.rows("SELECT number_id, provider_limit FROM sender_numbers ORDER BY 1") == [
        ("1001", "downgrade TIER_10K TIER_1K"),
        ("1002", None),
    ]
    assert states(corner) == {"1001": "active", "1002": "active"}


def test_a_limit_is_shown_at_the_number_that_the_notice_has_or_at_all_of_the_account(corner: Corner) -> None:
    number(corner)
    number(corner, "1002")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), of_number("1002", phone="15550001002")])

    corner.write(sink, [quality("DOWNGRADE", account=ACCOUNT, current_limit="TIER_1K")])
    limits = "SELECT number_id, provider_limit, people_max FROM sender_numbers ORDER BY 1"
    assert corner.rows(limits) == [("1001", "downgrade TIER_1K", 1_000), ("1002", None, None)]
    # It is of the portfolio, which the account's numbers share.
    reported = "SELECT reported_people_max(min(account_id)) FROM sender_numbers"
    assert corner.rows(reported) == [(1_000,)]

    capability = {"max_daily_conversations_per_business": 2000}
    corner.write(sink, [change("business_capability_update", capability, at_s=NOW_S + 60)])
    assert corner.rows(limits) == [("1001", "2000", 2_000), ("1002", "2000", 2_000)]


def test_a_notice_without_a_limit_of_people_leaves_that_of_the_portfolio(corner: Corner) -> None:
    number(corner)
    number(corner, "1002")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number(), of_number("1002", phone="15550001002")])
    reported = "SELECT reported_people_max(min(account_id)) FROM sender_numbers"

    corner.write(sink, [quality("DOWNGRADE", account=ACCOUNT, current_limit="TIER_1K", at_s=NOW_S - 90)])
    for at_s, phone in enumerate(("15550001001", "15550001002"), NOW_S - 30):
        corner.write(sink, [quality("FLAGGED", account=ACCOUNT, display_phone_number=phone, at_s=at_s)])
    assert corner.rows(reported) == [(1_000,)]

    # One that comes late is older than those without a limit, and newer than that limit.
    corner.write(sink, [quality("UPGRADE", account=ACCOUNT, current_limit="TIER_10K", at_s=NOW_S - 60)])
    assert corner.rows(reported) == [(10_000,)]
    assert corner.rows("SELECT provider_limit FROM sender_numbers ORDER BY 1") == [("flagged",)] * 2

    unlimited = quality(
        "UPGRADE",
        account=ACCOUNT,
        display_phone_number="15550001002",
        current_limit="TIER_UNLIMITED",
        at_s=NOW_S,
    )
    corner.write(sink, [unlimited])
    assert corner.rows(reported) == [(None,)]


@pytest.mark.parametrize(("late_s", "state"), [(-60, "active"), (60, "stopped")])
def test_a_notice_of_before_a_release_does_not_hold_again(corner: Corner, late_s: int, state: str) -> None:
    number(corner)
    campaign(corner, "uses-it", "ola")
    sink = ProviderStatuses(b"key")
    corner.write(sink, [of_number()])
    corner.rows(
        "INSERT INTO sending_releases (scope, released_at) SELECT scope, to_timestamp(%s)"
        " FROM unnest(%s::text[]) AS s (scope) RETURNING 1",
        NOW_S - 100,
        ["number:1001", "campaign:uses-it"],
    )

    corner.write(sink, [change("account_update", FORBIDDEN[0], at_s=NOW_S - 100 + late_s)])
    corner.write(sink, [template_status("PAUSED", at_s=NOW_S - 100 + late_s)])

    assert states(corner) == {"1001": state}
    assert stops(corner) == (["campaign:uses-it"] if state == "stopped" else [])
    assert ("outdated" in outcomes(corner)) == (state == "active")


@pytest.mark.parametrize(
    ("field", "value", "kind", "event", "detail", "stored"),
    [
        (
            "account_alerts",
            {"alert_info": {"alert_severity": "CRITICAL"}},
            "account_alerts",
            "",
            "CRITICAL",
            1,
        ),
        ("account_review_update", {"decision": "APPROVED"}, "account_review_update", "approved", "", 1),
        (
            "message_template_quality_update",
            {"previous_quality_score": "GREEN", "new_quality_score": "RED"},
            *("message_template_quality_update", "red", "GREEN RED", 1),
        ),
        ("security", {"event": "PIN_CHANGED", "requester": "1"}, "security", "pin_changed", "", 1),
        ("history", {"history": [{}]}, "history", "", "", 0),
        ("something_new", {"event": "+5547989211984"}, "other", "", "", 0),
    ],
)
def test_a_notice_is_counted_by_kind_and_shows_no_free_text(
    field: str, value: dict[str, Any], kind: str, event: str, detail: str, stored: int
) -> None:
    (notice,) = change(field, value).notices

    assert (notice.kind, notice.event, notice.detail, notice.stored) == (kind, event, detail, bool(stored))


@pytest.mark.parametrize(
    "value",
    [
        {"event": ["DISABLED_UPDATE"], "ban_info": [3]},
        {"event": "ACCOUNT_RESTRICTION", "restriction_info": {"a": 1}},
        {"event": "X" * 100_000, "reason": "\ud83d", "waba_info": {"waba_id": "\x00"}},
        {"display_phone_number": "५" * 40, "message_template_name": None, "current_limit": {}},
    ],
)
def test_an_odd_notice_costs_itself(corner: Corner, value: dict[str, Any]) -> None:
    number(corner)
    for field in ("account_update", "phone_number_quality_update", "message_template_status_update"):
        corner.write(ProviderStatuses(b"key"), [change(field, value), of_number()])

    assert corner.rows("SELECT count(*) FROM provider_notices") == [(3,)]


def test_a_body_has_a_bound_of_notices_and_what_forbids_sending_comes_first(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.whatsapp.meta_cloud.webhook.NOTICES_MAX", 5)
    number(corner)
    pins = [("security", {"event": "PIN_CHANGED", "requester": "1", "reason": f"N{n}"}) for n in range(9)]
    told = [*pins, *pins, ("flows", {}), ("account_update", FORBIDDEN[0])]
    changes = [{"field": field, "value": value} for field, value in told]
    content = {"entry": [{"id": ACCOUNT, "time": NOW_S, "changes": changes}]}
    found = parse(json.dumps(content).encode(), NOW_MS)
    over = metrics.WEBHOOK_NOTICES_OVER._value.get()

    corner.write(ProviderStatuses(b"key"), [of_number(), found])

    assert [notice.kind for notice in found.notices] == ["account_update", *["security"] * 4, "flows"]
    assert metrics.WEBHOOK_NOTICES_OVER._value.get() - over == 5  # of 10 that differ
    assert states(corner) == {"1001": "stopped"}
    assert len(outcomes(corner)) == 5


def test_notices_are_deleted_after_their_retention(corner: Corner) -> None:
    corner.write(ProviderStatuses(b"key"), [change("security", {"event": "PIN_CHANGED"})])
    notices.enforce(corner.connection, days=1)
    assert len(outcomes(corner)) == 1
    corner.rows("UPDATE provider_notices SET received_at = now() - interval '2 days' RETURNING 1")

    notices.enforce(corner.connection, days=1)

    assert outcomes(corner) == []


def template_status(event: str, *, at_s: int = NOW_S) -> Webhook:
    value = {
        "event": event,
        "message_template_id": 7,
        "message_template_name": "ola",
        "message_template_language": "pt-BR",
        "reason": "NONE",
    }
    return change("message_template_status_update", value, at_s=at_s)


def quality(event: str, *, at_s: int = NOW_S, account: str = "of another id", **more: str) -> Webhook:
    value = {"display_phone_number": "15550001001", "event": event, **more}
    return change("phone_number_quality_update", value, account=account, at_s=at_s)

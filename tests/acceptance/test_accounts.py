"""What one tenant owes the provider stops that tenant's account, and nobody else's numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_people import rules, submit, written_to
from tests.support.quizzes import in_force, make_quiz_of
from tests.support.running_pipeline import Pipeline, until
from tests.support.signed_webhooks import post_webhook

pytestmark = pytest.mark.xdist_group("acceptance")

FIFTH, THIRD = "551150010005", "terceiro"
NUMBERS = {
    "551150010001": "demo-raciocinio",
    "551150010002": "demo-raciocinio",
    "551150010003": "demo-personalidade",
    "551150010004": "demo-personalidade",
    FIFTH: THIRD,
}
OWING = "demo-raciocinio"
BILLING, LOCKED = 131042, 131031


def states(pipeline: Pipeline) -> dict[str, tuple[str, str]]:
    rows = pipeline.rows("SELECT number_id, state, reason FROM sender_numbers ORDER BY 1")
    return {number: (state, reason) for number, state, reason in rows}


def add_third_tenant(pipeline: Pipeline) -> None:
    """With its one number; where both are there nothing changes."""
    assert pipeline.quizstream("tenant", "add", THIRD, "--name", "Terceiro").returncode == 0
    number = ["number", "add", FIFTH, "--tenant", THIRD, "--provider", "meta-cloud"]
    access = ["--base-url", pipeline.found.settings.simulator_url, "--credential", "WHATSAPP_ACCESS_TOKEN"]
    assert pipeline.quizstream(*number, *access).returncode == 0


def test_a_billing_error_of_one_tenant_stops_its_numbers_and_no_others(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Five numbers of three tenants have one access token."""
    add_third_tenant(pipeline)
    tenants = list(dict.fromkeys(NUMBERS.values()))
    in_force({f"conta-{tenant}": tenant for tenant in tenants}, pipeline, tmp_path)
    people = {
        tenant: [f"554798855{place}{one:03}" for one in range(20)] for place, tenant in enumerate(tenants)
    }

    def everybody_completes() -> None:
        for tenant, phones in people.items():
            assert set(submit(pipeline, f"conta-{tenant}", [f"+{phone}" for phone in phones])) == {202}

    owing = [number for number, tenant in NUMBERS.items() if tenant == OWING]
    before = len(pipeline.calls())
    with rules(pipeline, {phone: {"do": "error", "code": BILLING, "status": 400} for phone in people[OWING]}):
        everybody_completes()
        others = [phone for tenant in tenants if tenant != OWING for phone in people[tenant]]
        until(
            lambda: {call["to"] for call in pipeline.calls()[before:] if call["wamid"]} >= set(others),
            "the other tenants' messages are sent",
        )
        until(
            lambda: all(states(pipeline)[number][0] == "stopped" for number in owing), "the account is held"
        )
    for number in owing:  # a second reason, by webhook
        post_webhook(pipeline, "messages", {"errors": [{"code": LOCKED, "title": "locked"}]}, number=number)
    noticed = "SELECT count(*) FROM provider_notices WHERE kind = 'errors' AND number_id = ANY (%s)"
    until(lambda: pipeline.value(noticed, owing) == len(owing), "the second reason is stored")

    held = states(pipeline)
    assert {number: state for number, (state, _) in held.items()} == {
        number: "stopped" if tenant == OWING else "active" for number, tenant in NUMBERS.items()
    }
    assert all(
        str(BILLING) in reason and str(LOCKED) not in reason for reason in (held[one][1] for one in owing)
    )
    doctor = pipeline.quizstream("doctor")
    assert all(number in doctor.stdout for number in owing)

    def release() -> None:
        for number in owing:
            assert pipeline.quizstream("number", "release", number).returncode == 0

    assert written_to(pipeline, release) == Counter(people[OWING])
    assert {state for state, _ in states(pipeline).values()} == {"active"}


# A code in a status `failed` of a message that was accepted -> the state of the number, or of the campaign.
BY_STATUS = {131042: "stopped", 131048: "quarantined", 190: "paused", 132015: "campaign"}
ACCOUNT = "500500500500500"  # of the fifth number
NOTICES: dict[str, dict[str, Any]] = {
    "account_update": {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}},
    "message_template_status_update": {"event": "PAUSED", "message_template_name": "obrigado"},
}


def test_what_a_webhook_reports_holds_or_stops_until_an_operator_releases(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """A failure after the message was accepted, then notices; those of others are not concerned."""
    add_third_tenant(pipeline)
    make_quiz_of(pipeline, tmp_path, "avisos", tenant=THIRD)
    campaign = "avisos-campanha"
    others = [number for number in NUMBERS if number != FIFTH and number in states(pipeline)]

    of_third = {
        one for (one,) in pipeline.rows("SELECT campaign_id FROM campaigns WHERE tenant_id = %s", THIRD)
    }

    def stopped() -> dict[str, str]:
        return dict(pipeline.rows("SELECT scope, reason FROM sending_stops"))

    def holds(state: str) -> bool:
        return (
            f"campaign:{campaign}" in stopped()
            if state == "campaign"
            else states(pipeline)[FIFTH][0] == state
        )

    def release(state: str) -> None:
        told = pipeline.quizstream("resume-sending").stdout  # of everything: it ends neither
        assert (campaign if state == "campaign" else FIFTH) in told
        assert (campaign if state == "campaign" else FIFTH) in pipeline.quizstream("doctor").stdout
        # A template stops every campaign of the tenant that uses it, and none of another tenant.
        campaigns = [scope.removeprefix("campaign:") for scope in stopped()]
        assert set(campaigns) <= of_third
        for what in [["--campaign", one] for one in campaigns] or [["--number", FIFTH]]:
            assert pipeline.quizstream("resume-sending", *what).returncode == 0
        assert stopped() == {}
        assert states(pipeline)[FIFTH][0] == "active"

    for place, (code, state) in enumerate(BY_STATUS.items()):
        phone = f"554798856000{place}"

        def fails_then_is_released(phone: str = phone, code: int = code, state: str = state) -> None:
            with rules(pipeline, {phone: {"do": "answer", "statuses": ["failed"], "code": code}}):
                assert submit(pipeline, "avisos", [f"+{phone}"]) == [202]
                until(lambda: holds(state), f"{code} by webhook: {state}")
            release(state)

        # Both calls were accepted; that the first one failed is the provider's own word.
        assert written_to(pipeline, fails_then_is_released) == Counter({phone: 2})

    for field, notice in NOTICES.items():
        state = "stopped" if field == "account_update" else "campaign"
        post_webhook(pipeline, "messages", {"statuses": []}, account=ACCOUNT, number=FIFTH)
        post_webhook(pipeline, field, notice, account=ACCOUNT)
        until(lambda state=state: holds(state), f"{field}: {state}")  # type: ignore[misc]
        assert {states(pipeline)[number][0] for number in others} == {"active"}
        release(state)


def test_a_campaign_that_several_recipients_reject_alike_stops_and_says_so(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    add_third_tenant(pipeline)
    make_quiz_of(pipeline, tmp_path, "iguais", tenant=THIRD)
    most = pipeline.found.topology.sender.rejected_alike_max
    phones = [f"55479885610{one:02}" for one in range(most)]
    wrong = {"do": "error", "code": 131009, "status": 400}

    def one_after_the_other(rejected: list[str]) -> None:
        with rules(pipeline, dict.fromkeys(rejected, wrong)):
            assert set(submit(pipeline, "iguais", [f"+{phone}" for phone in rejected])) == {202}
            of_campaign = (
                "SELECT count(*) FROM deliveries WHERE campaign_id = 'iguais-campanha' AND state = 'failed'"
            )
            failed = pipeline.value(of_campaign)
            until(lambda: pipeline.value(of_campaign) >= len(rejected), f"{failed} of them failed")

    stops = "SELECT scope, reason FROM sending_stops"
    one_after_the_other(phones[:-1])
    assert pipeline.rows(stops) == []
    one_after_the_other(phones)
    until(lambda: pipeline.rows(stops) != [], "the campaign stops")

    ((scope, reason),) = pipeline.rows(stops)
    assert scope == "campaign:iguais-campanha"
    assert f"{most} recipients in a row" in reason
    assert "131009" in reason
    assert "iguais-campanha" in pipeline.quizstream("doctor").stdout
    assert pipeline.quizstream("resume-sending", "--campaign", "iguais-campanha").returncode == 0
    report = pipeline.settled()
    assert report.ok, report.breaches

"""What one tenant owes the provider stops that tenant's account, and nobody else's numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.test_people import rules, submit, written_to
from tests.support.quizzes import make_quiz_of
from tests.support.running_pipeline import Pipeline, until
from tests.support.signed_webhooks import post_webhook

pytestmark = pytest.mark.xdist_group("acceptance")

NUMBERS = {
    "551150010001": "demo-raciocinio",
    "551150010002": "demo-raciocinio",
    "551150010003": "demo-personalidade",
    "551150010004": "demo-personalidade",
    "551150010005": "terceiro",
}
OWING = "demo-raciocinio"
BILLING, LOCKED = 131042, 131031


def states(pipeline: Pipeline) -> dict[str, tuple[str, str]]:
    rows = pipeline.rows("SELECT number_id, state, reason FROM sender_numbers ORDER BY 1")
    return {number: (state, reason) for number, state, reason in rows}


def test_a_billing_error_of_one_tenant_stops_its_numbers_and_no_others(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Five numbers of three tenants have one access token."""
    settings = pipeline.found.settings
    assert pipeline.quizstream("tenant", "add", "terceiro", "--name", "Terceiro").returncode == 0
    fifth = ["number", "add", "551150010005", "--tenant", "terceiro", "--provider", "meta-cloud"]
    access = ["--base-url", settings.simulator_url, "--credential", "WHATSAPP_ACCESS_TOKEN"]
    assert pipeline.quizstream(*fifth, *access).returncode == 0
    tenants = list(dict.fromkeys(NUMBERS.values()))
    for tenant in tenants:
        make_quiz_of(pipeline, tmp_path, f"conta-{tenant}", tenant=tenant)
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

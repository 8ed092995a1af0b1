"""The demo's session numbers, of UAZAPI and Evolution API: both send, and the webhooks of each arrive."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from ops.deployment.seed import SEEDS, seed
from tests.support.running_pipeline import Pipeline, until

pytestmark = pytest.mark.xdist_group("acceptance")

PEOPLE = 16  # all with one number: once in 2**15


def test_both_send_and_report(pipeline: Pipeline) -> None:
    in_force_ms = seed(pipeline.found, SEEDS / "uazapi")
    time.sleep(max(0.0, in_force_ms / 1000 - time.time()) + 1)
    for person in range(PEOPLE):
        answered = {"answers": {"O1": 6}, "contact": {"phone": f"+55119876540{person:02d}", "name": "Ana"}}
        url = f"{pipeline.found.settings.edge_url}/quiz/sessao/completions"
        asked = urllib.request.Request(
            url, json.dumps(answered).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as response:
            assert response.status == 202

    states = "SELECT state, count(*)::int FROM deliveries WHERE tenant_id = 'demo-sessao' GROUP BY 1"

    def arrived() -> bool:
        found = dict(pipeline.rows(states))
        return bool(found.get("delivered", 0) + found.get("read", 0) == PEOPLE)

    until(arrived, "every message is reported as delivered")
    by_provider = (
        "SELECT DISTINCT a.provider FROM delivery_attempts AS a JOIN deliveries AS d USING (delivery_id)"
        " WHERE d.tenant_id = 'demo-sessao' ORDER BY 1"
    )
    assert pipeline.rows(by_provider) == [("evolution",), ("uazapi",)]
    of_numbers = (
        "SELECT DISTINCT number_id FROM provider_statuses WHERE number_id LIKE '55115001000%%' ORDER BY 1"
    )
    assert pipeline.rows(of_numbers) == [("551150010007",), ("551150010008",)]

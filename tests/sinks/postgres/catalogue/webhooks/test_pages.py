"""A page of messages reads about as many rows as it shows, whichever filter it has."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sinks.postgres.catalogue.webhooks.messages import QUERIES
from tests.support.sinks import Corner

OF_ONE, OF_OTHER, PAGE = 5_000, 20, 50


@pytest.mark.parametrize(
    ("endpoint", "state", "shown"),
    [(None, None, PAGE), ("whe_other", None, OF_OTHER), (None, "failed", 5), ("whe_other", "failed", 5)],
    ids=str,
)
def test_a_filtered_page_reads_few_rows(
    corner: Corner, endpoint: str | None, state: str | None, shown: int
) -> None:
    """The other endpoint's are older than thousands of the first, and some of them have failed."""
    for name, count, failed in (("whe_other", OF_OTHER, 5), ("whe_one", OF_ONE, 0)):
        corner.connection.execute(
            "INSERT INTO webhook_messages (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind,"
            " content, state) SELECT %(name)s || n, 'acme', %(name)s, gen_random_uuid(), 1, 'delivery.sent',"
            " '{}', CASE WHEN n <= %(failed)s THEN 'failed' ELSE 'delivered' END"
            " FROM generate_series(1, %(count)s) AS n",
            {"name": name, "count": count, "failed": failed},
        )
    corner.connection.execute("ANALYZE webhook_messages")
    given = {"tenant": "acme", "before": None, "endpoint": endpoint, "state": state, "limit": PAGE}
    explained = corner.connection.execute(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES['list_messages']}", given
    ).fetchone()
    assert explained is not None
    plan = cast(list[dict[str, Any]], explained[0])[0]["Plan"]
    assert plan["Actual Rows"] == shown
    assert _dropped(plan) <= PAGE, plan


def _dropped(plan: dict[str, Any]) -> float:
    own = plan.get("Rows Removed by Filter", 0) * plan["Actual Loops"]
    return float(own + sum(_dropped(inner) for inner in plan.get("Plans", [])))

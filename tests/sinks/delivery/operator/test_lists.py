"""A page of a tenant's deliveries or contacts reads its own rows, whatever else is stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from ingest_api.tenants.resources.contacts import QUERIES as CONTACT_QUERIES
from sinks.delivery.operator.deliveries import QUERIES, Chosen, Place, list_deliveries, query_of
from sinks.delivery.state import DeliveryState
from sinks.postgres.connect import Connection, connect
from sinks.postgres.isolation.catalogue import TENANT_SETTING, TENANTS_ROLE
from sinks.postgres.partitions import Partition, create

PAGE = 50
ROWS_READ_MAX = 8 * PAGE  # a page of each campaign at most, and the sub-queries beside it; 24,000 are stored
MONTHS = (date(2026, 9, 1), date(2026, 10, 1))
# (id, tenant, month, rows): one tenant has a few among and behind the many of another.
CAMPAIGNS = (
    ("a-many", "many", MONTHS[0], 8_000),
    ("b-few", "few", MONTHS[0], 130),
    ("c-many", "many", MONTHS[0], 8_000),
    ("d-few", "few", MONTHS[1], 40),
    ("e-none", "few", MONTHS[1], 0),
    ("f-many", "many", MONTHS[1], 8_000),
    ("g-few", "few", MONTHS[1], 70),
)


def fill(connection: Connection) -> None:
    for month in MONTHS:
        create(connection, Partition("deliveries", (month - date(1970, 1, 1)).days))
    for tenant in ("many", "few"):
        connection.execute("INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)", [tenant, tenant])
    for campaign_id, tenant, month, rows in CAMPAIGNS:
        connection.execute(
            "INSERT INTO campaigns (campaign_id, tenant_id, month) VALUES (%s, %s, %s)",
            [campaign_id, tenant, month],
        )
        connection.execute(
            "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
            " campaign_version, completion_id, completion_day, state, due_at)"
            " SELECT %s, %s, md5(n::text), gen_random_uuid(), %s, 1, gen_random_uuid(), %s,"
            " CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'sent' END, now()"
            " FROM generate_series(1, %s) AS n",
            [month, campaign_id, tenant, month, rows],
        )
    connection.execute(
        "INSERT INTO contacts (tenant_id, contact_id, seen_at)"
        " SELECT tenant, md5(n::text), now()"
        " FROM generate_series(1, 8000) AS n, unnest(ARRAY['many', 'x']) AS tenant"
        " UNION ALL SELECT 'few', md5(n::text), now() FROM generate_series(1, 130) AS n"
    )
    connection.execute("ANALYZE")


def rows_read(connection: Connection, query: str, parameters: Mapping[str, Any]) -> int:
    """By the scans of the plan, with those that a filter then drops."""
    explained = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters).fetchone()
    assert explained is not None
    plan: Any = explained[0]

    def of(node: Mapping[str, Any]) -> int:
        own = 0
        if "Scan" in node["Node Type"]:
            dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            own = round((node["Actual Rows"] + dropped) * node["Actual Loops"])
        return own + sum(of(child) for child in node.get("Plans", ()))

    return of(plan[0]["Plan"])


@pytest.mark.parametrize("role", ["owner", "tenant API"])
@pytest.mark.parametrize("state", [None, DeliveryState.FAILED])
def test_a_page_of_a_tenants_deliveries_reads_its_rows_alone(
    database_url: str, role: str, state: DeliveryState | None
) -> None:
    states = None if state is None else (state,)
    with connect(database_url, "test") as connection:
        fill(connection)
        if role == "tenant API":
            connection.execute(f"SET SESSION AUTHORIZATION {TENANTS_ROLE}")
            connection.execute("SELECT set_config(%s, 'few', false)", [TENANT_SETTING])
        seen, after = [], None
        while True:
            chosen = Chosen(states, "few")
            read = rows_read(
                connection,
                QUERIES[query_of(chosen)],
                {
                    **Place.parse(after).parameters,
                    **chosen.parameters,
                    "redrives_min": None,
                    "limit": PAGE + 1,
                },
            )
            assert read <= ROWS_READ_MAX, after
            page = list_deliveries(connection, chosen, after=after, limit=PAGE)
            seen += page.items
            if (after := page.next) is None:
                break
        keys = [(one.campaign_month, one.campaign_id, one.contact_id) for one in seen]
        assert keys == sorted(set(keys))
        assert {one.tenant_id for one in seen} == {"few"}
        assert len(keys) == (240 if state is None else 24)


@pytest.mark.parametrize("after", ["", "8"])
def test_a_page_of_contacts_reads_its_rows_alone(database_url: str, after: str) -> None:
    with connect(database_url, "test") as connection:
        fill(connection)
        connection.execute(f"SET SESSION AUTHORIZATION {TENANTS_ROLE}")
        for tenant in ("few", "many"):
            connection.execute("SELECT set_config(%s, %s, false)", [TENANT_SETTING, tenant])
            given = {"tenant": tenant, "after": after, "contact": None, "limit": PAGE + 1}
            assert rows_read(connection, CONTACT_QUERIES["list_contacts"], given) <= ROWS_READ_MAX

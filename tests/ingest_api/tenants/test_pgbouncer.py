"""The tenant API behind PgBouncer: any connection may serve a transaction, which meets one tenant alone."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from ingest_api.tenants.pool.database import Database
from ops.embedded.stack import ServerUrls
from pipeline.runtime.settings import Settings
from pipeline.topology.file import TenantPool
from schemas.records import Question
from sinks.postgres.catalogue.operations import add_quiz, add_tenant
from sinks.postgres.catalogue.quizzes import QuizDraft
from sinks.postgres.connect import Connection, connect
from sinks.postgres.isolation.login import allow_login, tenants_url
from tests.support.edge import prepare, settings_for
from tests.support.pgbouncer import pooled
from tests.support.samples import NOW_MS
from tests.support.tenant_api import running, signed

TENANTS = ("acme", "umbrella", "initech", "hooli")
SERVER_CONNECTIONS = 3  # fewer than threads: every connection serves every tenant
POOL = TenantPool(
    connections_min=8,
    connections_max=16,
    of_tenant_max=16,
    lifetime_s=3600,
    wait_s=60,
    statement_timeout_ms=60_000,
)


class Fails(Exception):
    """Of a transaction, in its middle."""


def seen(connection: Connection) -> set[str]:
    rows = connection.execute(
        "SELECT tenant_id FROM quizzes UNION ALL SELECT tenant_id FROM tenants"
        " UNION ALL SELECT tenant_id FROM audit_log"
    )
    return {str(tenant_id) for (tenant_id,) in rows}


def interleaved(url: str, transactions: int) -> Counter[str]:
    """Runs so many, of random tenants, some of which fail; the outcomes by kind."""
    database, rng = Database(url, POOL), random.Random(15)
    chosen = [(rng.choice(TENANTS), rng.random()) for _ in range(transactions)]

    def one(choice: tuple[str, float]) -> str:
        tenant, what = choice

        def work(connection: Connection) -> set[str]:
            if what < 0.1:  # another tenant's rows can be neither changed nor deleted
                other = TENANTS[(TENANTS.index(tenant) + 1) % len(TENANTS)]
                changed = connection.execute("UPDATE quizzes SET title = 'x' WHERE tenant_id = %s", [other])
                assert changed.rowcount == 0
            found = seen(connection)
            if what > 0.9:
                raise Fails
            return found

        try:
            return "alone" if database.transaction(tenant, work) == {tenant} else f"{tenant} met others"
        except Fails:
            return "failed"

    database.start()
    try:
        with ThreadPoolExecutor(POOL.connections_max) as threads:
            return Counter(threads.map(one, chosen))
    finally:
        database.close()


@pytest.mark.parametrize("transactions", [1_000, pytest.param(10_000, marks=pytest.mark.full)])
def test_interleaved_transactions_meet_one_tenant_each(database_url: str, transactions: int) -> None:
    settings = replace(Settings.from_env({}), database_url=database_url)
    with connect(database_url, "test") as owner:
        for tenant in TENANTS:
            add_tenant(owner, "ana", tenant, tenant.title())
            add_quiz(owner, "ana", QuizDraft(f"{tenant}-quiz", tenant, "Quiz", [Question("q1")]), NOW_MS)
    url = tenants_url(settings)
    allow_login(database_url, url)
    with pooled(url, SERVER_CONNECTIONS) as through:
        outcomes = interleaved(through, transactions)
        assert set(outcomes) == {"alone", "failed"}, outcomes
        assert outcomes.total() == transactions
        # What a transaction set is gone with it: without a tenant, nothing is seen.
        with psycopg.connect(through, autocommit=True, prepare_threshold=None) as bare:
            served = Counter(bare.execute("SELECT pg_backend_pid()").fetchall()[0] for _ in range(20))
            assert seen(bare) == set()
    assert len(served) <= SERVER_CONNECTIONS


def test_a_tenant_works_through_pgbouncer(stack: ServerUrls, namespace: str, database_url: str) -> None:
    settings = replace(settings_for(stack.kafka_bootstrap, namespace), database_url=database_url)
    url = tenants_url(settings)
    allow_login(database_url, url)
    with (
        pooled(url, SERVER_CONNECTIONS) as through,
        running(replace(settings, tenants_database_url=through), prepare(settings)) as api,
    ):
        quiz = {"title": "Feedback", "questions": [{"question_id": "q1", "text": "How was it?"}]}
        acme, umbrella = signed("acme"), signed("umbrella")
        made = [api.ask(acme, "POST", "/v1/quizzes", quiz) for _ in range(5)]
        assert {answer.status for answer in made} == {201}
        listed = api.ask(acme, "GET", "/v1/quizzes").json
        assert len(listed["items"]) == 5
        assert api.ask(umbrella, "GET", "/v1/quizzes").json["items"] == []
        path = f"/v1/quizzes/{made[0].json['quiz_id']}"
        assert api.ask(umbrella, "GET", path).status == 404
        again = {"idempotency-key": secrets.token_hex(8)}
        same = [api.ask(acme, "POST", "/v1/quizzes", quiz, again).json["quiz_id"] for _ in range(3)]
        assert len(set(same)) == 1

"""Two tenants in one database: whatever SQL the tenant API's role runs, it meets one of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import psycopg
import pytest

from schemas.codec import codec
from schemas.records import Message, Question, Quiz, Token
from sinks.postgres.catalogue.campaigns import CampaignDraft
from sinks.postgres.catalogue.operations import (
    add_campaign,
    add_quiz,
    add_suppressions,
    add_tenant,
    change_token,
)
from sinks.postgres.catalogue.quizzes import QuizDraft
from sinks.postgres.connect import Connection, connect
from sinks.postgres.isolation.apply import NotIsolated, apply, require_subject
from sinks.postgres.isolation.catalogue import RULES, TENANTS_ROLE, Isolated, Shared, Unseen
from sinks.postgres.outbox import Row
from sinks.postgres.own_events import not_of_tenant
from sinks.postgres.partitions import Partition, create
from tests.support.samples import NOW_MS
from tests.support.sinks import topology_of

TENANTS = ("acme", "umbrella")
OF_A_TENANT = (
    "quizzes",
    "campaigns",
    "campaign_versions",
    "deliveries",
    "delivery_attempts",
    "suppressions",
    "contacts",
    "tokens",
    "audit_log",
    "completions",
    "webhook_endpoints",
    "webhook_messages",
    "users",
)
COUNTS = {"audit_log": 5, "completions": 1}


@pytest.fixture
def owner(database_url: str) -> Iterator[Connection]:
    with connect(database_url, "test") as connection:
        for tenant in TENANTS:
            fill(connection, tenant)
        yield connection


@pytest.fixture
def as_tenants(database_url: str, owner: Connection) -> Iterator[Connection]:
    with connect(database_url, "test") as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {TENANTS_ROLE}")
        yield connection


def fill(connection: Connection, tenant: str) -> None:
    """A quiz, a campaign, a token, a suppression, and a delivery with its attempt."""
    for table in ("completions", "deliveries"):
        create(connection, Partition(table, (date(2026, 11, 30) - date(1970, 1, 1)).days))
    limits = topology_of("").campaigns
    add_tenant(connection, "ana", tenant, tenant.title())
    add_quiz(connection, "ana", QuizDraft(f"{tenant}-quiz", tenant, "Quiz", [Question("q1")]), NOW_MS)
    message = Message("text", text="Hello")
    draft = CampaignDraft(f"{tenant}-club", tenant, "Club", [f"{tenant}-quiz"], message)
    add_campaign(connection, "ana", draft, limits, NOW_MS)
    change_token(connection, "ana", f"{tenant}-secret", tenant)
    add_suppressions(connection, "ana", tenant, [f"{tenant}-gone"], "asked for")
    connection.execute(
        "INSERT INTO contacts (tenant_id, contact_id, seen_at) VALUES (%s, 'c1', now())", [tenant]
    )
    connection.execute(
        "INSERT INTO completions (day, completion_id, tenant_id, quiz_id, quiz_version, contact_id,"
        " submitted_at, accepted_at, answers)"
        " VALUES ('2026-11-30', gen_random_uuid(), %s, 'q', 1, 'c1', now(), now(), '{}')",
        [tenant],
    )
    connection.execute(
        "WITH made AS (INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id,"
        " tenant_id, campaign_version, completion_id, completion_day, due_at)"
        " VALUES ('2026-11-30', %s, 'c1', gen_random_uuid(), %s, 1, gen_random_uuid(), '2026-11-30', now())"
        " RETURNING delivery_id)"
        " INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt)"
        " SELECT gen_random_uuid(), delivery_id, '5511', 1 FROM made",
        [f"{tenant}-club", tenant],
    )
    connection.execute(
        "INSERT INTO webhook_endpoints (endpoint_id, tenant_id, url, kinds, salt)"
        " VALUES (%s, %s, 'https://hooks.example.com/', '{delivery.sent}', 'salt')",
        [f"{tenant}-hook", tenant],
    )
    connection.execute(
        "INSERT INTO webhook_messages (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind,"
        " content) VALUES (%s, %s, %s, gen_random_uuid(), 4, 'delivery.sent', '{}')",
        [f"{tenant}-message", tenant, f"{tenant}-hook"],
    )
    connection.execute(
        "INSERT INTO users (tenant_id, user_id, email, role, password_hash)"
        " VALUES (%s, 'usr_1', 'ana@example.com', 'owner', 'hash')",
        [tenant],
    )


def become(connection: Connection, tenant: str) -> None:
    connection.execute("SELECT set_config('quizstream.tenant', %s, true)", [tenant])


def test_every_table_has_a_rule_and_the_database_follows_it(owner: Connection) -> None:
    """A table or partition without its policies and grants fails here."""
    create(owner, Partition("outcomes", 40_000))
    relations = owner.execute(
        "SELECT c.relname, coalesce(p.relname, c.relname), c.relrowsecurity, c.relforcerowsecurity,"
        " ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1),"
        " ARRAY(SELECT privilege_type::text FROM information_schema.role_table_grants AS g"
        "  WHERE g.grantee = %s AND g.table_name = c.relname ORDER BY 1)"
        " FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid"
        " LEFT JOIN pg_class AS p ON p.oid = i.inhparent"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')",
        [TENANTS_ROLE],
    ).fetchall()
    assert {ruled_by for _, ruled_by, *_ in relations} == set(RULES), "sinks/postgres/isolation/catalogue.py"
    for name, ruled_by, enabled, forced, policies, grants in relations:
        rule = RULES[str(ruled_by)]
        isolated = rule if isinstance(rule, Isolated) else None
        assert enabled == (not isinstance(rule, Shared)), name
        assert forced == (enabled and (isolated is None or isolated.forced)), name
        wanted = (["every_tenant"] if forced else []) + (["own_tenant"] if isolated else [])
        if isolated and isolated.changeable:
            wanted += ["own_additions", "own_deletions"]
        assert policies == sorted(wanted), name
        granted = sorted(isolated.grants) if isolated and name == ruled_by else []
        assert grants == granted, name


def test_a_tenant_sees_its_own_rows_and_no_others(as_tenants: Connection) -> None:
    for tenant in TENANTS:
        with as_tenants.transaction():
            become(as_tenants, tenant)
            for table in OF_A_TENANT:
                (seen,) = as_tenants.execute(f"SELECT count(*) FROM {table}").fetchone() or (None,)
                assert seen == COUNTS.get(table, 1), table


def test_without_a_tenant_nothing_is_seen(as_tenants: Connection) -> None:
    for table, rule in RULES.items():
        if isinstance(rule, Isolated) and "SELECT" in rule.grants:
            assert as_tenants.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_raw_sql_changes_and_deletes_nothing_of_another_tenant(
    as_tenants: Connection, owner: Connection
) -> None:
    for tenant in TENANTS:
        fill_what_is_changed(owner, tenant)
    before = rows_of(owner, "acme")
    for table, rule in RULES.items():
        if not isinstance(rule, Isolated):
            continue
        for privilege, statement in (
            ("UPDATE", f"UPDATE {table} SET tenant_id = 'umbrella'"),
            ("DELETE", f"DELETE FROM {table}"),
        ):
            if privilege in rule.grants:
                assert before[table], f"without a row, {statement} shows nothing"
                with as_tenants.transaction():
                    become(as_tenants, "umbrella")
                    assert as_tenants.execute(statement).rowcount > 0, table
                assert rows_of(owner, "acme") == before, table
    for statement in (
        "INSERT INTO quizzes (quiz_id, tenant_id, title, questions) VALUES ('x', 'acme', '', '[]')",
        "UPDATE quizzes SET tenant_id = 'acme'",
        "INSERT INTO suppressions (tenant_id, contact_id, reason) VALUES ('acme', 'c1', '')",
        "INSERT INTO tokens (token_hash, tenant_id, kind) VALUES ('x', '*', 'service')",
        "INSERT INTO audit_log (actor, action, subject, tenant_id) VALUES ('a', 'b', 'c', 'acme')",
        "INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)"
        " VALUES ('acme-club', 9, '{}', now())",
        "INSERT INTO sending_stops (scope) VALUES ('campaign:acme-club')",
        "INSERT INTO sending_stops (scope) VALUES ('tenant:acme')",
        "INSERT INTO sending_stops (scope) VALUES ('global')",
        "INSERT INTO sending_stops (scope, by_tenant) VALUES ('campaign:acme-club', true)",
        "INSERT INTO sending_stops (scope, by_tenant) VALUES ('campaign:umbrella-club', false)",
        "SELECT FROM sending_releases",
        "SELECT FROM campaign_rejections",
        "INSERT INTO tenants (tenant_id, name) VALUES ('new', 'New')",
        "DELETE FROM suppressions",
        "DELETE FROM outbox",
        "SELECT FROM outbox",
        "SELECT FROM dead_letters",
        "SELECT FROM completions_20261130",
        "TRUNCATE consent_words",
        "UPDATE webhook_endpoints SET held_reason = ''",
        "UPDATE webhook_endpoints SET tenant_id = 'acme'",
        "UPDATE users SET tenant_id = 'acme'",
        "UPDATE users SET email = 'other@example.com'",
        "DELETE FROM users",
        "INSERT INTO users (tenant_id, user_id, email, role, password_hash)"
        " VALUES ('acme', 'usr_2', 'eve@example.com', 'owner', 'hash')",
        "SET row_security = off; SELECT FROM quizzes",
        "ALTER TABLE quizzes DISABLE ROW LEVEL SECURITY",
    ):
        with as_tenants.transaction():
            become(as_tenants, "umbrella")
            with pytest.raises(psycopg.errors.InsufficientPrivilege), as_tenants.transaction():
                as_tenants.execute(statement)
    assert rows_of(owner, "acme") == before


def test_a_tenant_deletes_no_endpoint_that_an_operator_has_paused(
    as_tenants: Connection, owner: Connection
) -> None:
    for held, deleted in (("floods", 0), ("", 1)):
        owner.execute("UPDATE webhook_endpoints SET held_reason = %s", [held])
        with as_tenants.transaction():
            become(as_tenants, "acme")
            as_tenants.execute("UPDATE webhook_endpoints SET description = 'mine'")
            assert as_tenants.execute("DELETE FROM webhook_endpoints").rowcount == deleted


@pytest.mark.parametrize(
    ("topic", "key"),
    [
        ("quizzes", "acme-quiz"),
        ("campaigns", "acme-club|2"),
        ("tenants", "acme"),
        ("delivery_events", "umbrella-quiz"),
    ],
)
def test_no_event_of_anothers_object_can_be_added(as_tenants: Connection, topic: str, key: str) -> None:
    for tenant, refused in (("umbrella", True), ("acme", topic == "delivery_events")):
        with as_tenants.transaction(force_rollback=True):
            become(as_tenants, tenant)
            add = "INSERT INTO outbox (topic, key) VALUES (%s, %s)"
            if refused:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    as_tenants.execute(add, [topic, key.encode()])
            else:
                as_tenants.execute(add, [topic, key.encode()])


def test_an_event_that_names_another_tenant_is_not_published() -> None:
    """What the key of a tenant's own object hides from the policy, the publisher sees."""
    topology = topology_of("")
    quiz = Quiz("acme-quiz", "acme", 1, "Quiz", [], created_at=0)
    token = Token("h", "acme", 1)
    events: list[tuple[str, bytes, Any, bool]] = [
        ("quizzes", b"acme-quiz", quiz, True),
        ("quizzes", b"acme-quiz", msgspec.structs.replace(quiz, tenant_id="umbrella"), False),
        ("quizzes", b"acme-quiz", msgspec.structs.replace(quiz, quiz_id="umbrella-quiz"), False),
        ("tokens", b"h", token, True),
        ("tokens", b"h", msgspec.structs.replace(token, tenant_id="*"), False),
        ("delivery_events", b"h", token, False),
    ]
    for topic, key, event, own in events:
        name = topology.topic(topic).schema if topic != "delivery_events" else "token"
        value = codec(name or "").encode(event)
        assert (not_of_tenant(Row(1, topic, key, value, "acme"), topology) is None) == own, event
        assert not_of_tenant(Row(1, topic, key, value), topology) is None
    assert not_of_tenant(Row(1, "quizzes", b"acme-quiz", b"?", "acme"), topology) is not None
    assert not_of_tenant(Row(1, "quizzes", b"acme-quiz", None, "acme"), topology) is not None


def test_a_process_that_is_not_subject_to_the_policies_does_not_start(
    as_tenants: Connection, owner: Connection
) -> None:
    require_subject(as_tenants)
    with pytest.raises(NotIsolated, match="superuser"):
        require_subject(owner)
    owner.execute(f"GRANT SELECT ON sink_offsets TO {TENANTS_ROLE}")
    with pytest.raises(NotIsolated, match="sink_offsets"):
        require_subject(as_tenants)


def test_a_table_in_use_is_isolated_when_it_is_free(owner: Connection, database_url: str) -> None:
    """As after an upgrade: what lacks its rule gets it, and an owner that is no superuser keeps its plans."""
    owner.execute("DROP POLICY own_tenant ON deliveries")
    owner.execute("DROP POLICY every_tenant ON deliveries")
    owner.execute("ALTER TABLE deliveries DISABLE ROW LEVEL SECURITY")
    assert apply(owner) == ["deliveries"]
    assert apply(owner) == []
    plain = "CREATE ROLE plain_owner NOSUPERUSER"
    with owner.transaction(force_rollback=True):
        owner.execute(plain)
        owner.execute("CREATE TABLE probe AS SELECT * FROM deliveries")
        owner.execute("ALTER TABLE probe OWNER TO plain_owner")
        owner.execute("ALTER TABLE probe ENABLE ROW LEVEL SECURITY")
        owner.execute("ALTER TABLE probe FORCE ROW LEVEL SECURITY")
        owner.execute("CREATE POLICY every_tenant ON probe TO plain_owner USING (true) WITH CHECK (true)")
        owner.execute("CREATE POLICY own_tenant ON probe TO quizstream_tenants USING (tenant_id = 'a')")
        owner.execute("SET LOCAL ROLE plain_owner")
        plan = owner.execute("EXPLAIN SELECT * FROM probe WHERE contact_id = 'c1'").fetchall()
        filters = [str(line) for (line,) in plan if "Filter" in str(line)]
        assert filters == ["  Filter: (contact_id = 'c1'::text)"]
        assert owner.execute("SELECT count(*) FROM probe").fetchone() == (2,)


def policies_of(owner: Connection, table: str) -> list[tuple[object, ...]]:
    return owner.execute(
        "SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy"
        " WHERE polrelid = to_regclass(%s) ORDER BY 1",
        [table],
    ).fetchall()


def test_a_changed_rule_reaches_tables_that_have_the_old_one(
    owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert apply(owner) == []
    before = {
        table: policies_of(owner, table) for table in ("completions", "completions_20261130", "contacts")
    }
    changed = {
        "completions": Isolated("false", ()),
        "contacts": Unseen("no longer"),
        "suppressions": Isolated("tenant_id = current_tenant()", ("SELECT",)),
    }
    with monkeypatch.context() as patch:
        patch.setattr("sinks.postgres.isolation.apply.RULES", {**RULES, **changed})
        assert {*apply(owner)} == {*changed, "completions_20261130"}
        assert apply(owner) == []
        for table in ("completions", "completions_20261130"):
            assert ("own_tenant", "false") in policies_of(owner, table)
        assert [name for name, _ in policies_of(owner, "contacts")] == ["every_tenant"]
        with owner.transaction():
            owner.execute(f"SET LOCAL ROLE {TENANTS_ROLE}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
                owner.execute("SELECT FROM contacts")
            with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
                owner.execute("DELETE FROM suppressions")
    assert {*apply(owner)} == {*changed, "completions_20261130"}
    assert {table: policies_of(owner, table) for table in before} == before


@pytest.mark.parametrize(
    "change",
    [
        "ALTER POLICY own_tenant ON quizzes USING (true)",
        "DROP POLICY own_tenant ON quizzes",
        "CREATE POLICY mine ON quizzes USING (true)",
        "ALTER TABLE quizzes NO FORCE ROW LEVEL SECURITY",
        f"GRANT DELETE ON quizzes TO {TENANTS_ROLE}",
    ],
)
def test_what_was_changed_by_hand_is_as_ruled_after_the_next_migration(
    owner: Connection, change: str
) -> None:
    before = policies_of(owner, "quizzes")
    owner.execute(change)
    assert apply(owner) == ["quizzes"]
    assert policies_of(owner, "quizzes") == before
    assert apply(owner) == []


def fill_what_is_changed(owner: Connection, tenant: str) -> None:
    """A row in each further table in which the tenant API changes or deletes something."""
    owner.execute(
        "INSERT INTO sending_stops (scope, by_tenant) VALUES (%s, true), (%s, false)",
        [f"campaign:{tenant}-club"] * 2,
    )
    owner.execute(
        "INSERT INTO consent_words (tenant_id, language, phrase, consent) VALUES (%s, 'pt', 'pare', 'stop')",
        [tenant],
    )
    owner.execute(
        "INSERT INTO idempotent_requests (tenant_id, idempotency_key, operation, content_hash)"
        " VALUES (%s, 'k', 'o', 'h')",
        [tenant],
    )
    owner.execute(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES (%s, %s, 'meta-cloud', 'https://graph.facebook.com', 'TOKEN')",
        [f"{tenant}-number", tenant],
    )


def rows_of(owner: Connection, tenant: str) -> dict[str, list[str]]:
    """Of each table the rows that name the tenant."""
    return {
        table: [
            str(row)
            for (row,) in owner.execute(
                f"SELECT t::text FROM {table} AS t WHERE t::text LIKE %s ORDER BY 1", [f"%{tenant}%"]
            )
        ]
        for table in RULES
    }

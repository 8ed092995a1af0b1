"""Puts the rules of `catalogue` on tables and partitions, and checks that a process is subject to them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from pipeline.errors import OperatorError
from sinks.postgres.connect import Connection
from sinks.postgres.isolation.catalogue import RULES, TENANTS_ROLE, Isolated, Rule, Shared
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("isolation.sql"))
LOCK_TIMEOUT_MS = 5_000


class NotIsolated(OperatorError):
    """The database role of this process is not subject to row-level security."""


class _Present(NamedTuple):
    name: str
    ruled_by: str
    isolated: bool
    policies: str
    noted: str | None
    grants: list[str]
    updates: list[str]


class _Privileges(NamedTuple):
    unbound: bool
    owner: bool
    unguarded: list[str]


def apply(connection: Connection) -> list[str]:
    """Isolate every table and partition as its rule has it; return the names of those that were not.

    A transaction for each, whose lock lasts a moment: tables are in use meanwhile. A table has no grant
    before it is isolated. A policy's comment states of which rule it was made and what that led to, so that
    a rule that has changed, or a policy that was changed by hand, is made anew.
    """
    done = []
    for of_partitions in (False, True):  # a partition has the policies of its table, which come first
        present = _present(connection)
        of_table = {one.name: one.policies for one in present}
        for one in present:
            if (one.name != one.ruled_by) != of_partitions or _is_as_ruled(one, of_table[one.ruled_by]):
                continue
            with connection.transaction():
                connection.execute(QUERIES["limit_lock_wait"], [f"{LOCK_TIMEOUT_MS}ms"])
                isolate(connection, one.name, one.ruled_by)
                _note(connection, one.name)
            done.append(one.name)
    return done


def _is_as_ruled(one: _Present, policies_of_table: str) -> bool:
    if one.name != one.ruled_by:
        return one.isolated and one.policies == policies_of_table and not one.grants + one.updates
    rule = RULES[one.ruled_by]
    grants = sorted(rule.grants) if isinstance(rule, Isolated) else []
    updates = sorted(rule.updates) if isinstance(rule, Isolated) else []
    granted = one.grants == grants and one.updates == updates
    return one.isolated and one.noted == _noted(one) and granted


def _present(connection: Connection) -> list[_Present]:
    ruled = [table for table, rule in RULES.items() if not isinstance(rule, Shared)]
    return fetch(connection, QUERIES["present"], _Present, {"tables": ruled, "role": TENANTS_ROLE})


def _noted(one: _Present) -> str:
    rule = RULES[one.ruled_by]
    ruled = (rule.condition, rule.forced, rule.changeable) if isinstance(rule, Isolated) else ()
    return f"{hashlib.sha256(repr(ruled).encode()).hexdigest()[:32]} {one.policies}"


def _note(connection: Connection, name: str) -> None:
    (made,) = [one for one in _present(connection) if one.name == name]
    row = connection.execute(QUERIES["policies"], [name]).fetchone()
    assert row is not None, name
    connection.execute(
        sql.SQL("COMMENT ON POLICY {} ON {} IS {}").format(
            sql.Identifier(str(row[0])), sql.Identifier(name), sql.Literal(_noted(made))
        )
    )


def isolate(connection: Connection, name: str, ruled_by: str) -> None:
    """Put the rule of the table `ruled_by` on the table or partition `name`, in the open transaction.

    In place of the policies that it has.
    A partition gets no grant: it is reached through its table alone.
    """
    rule: Rule = RULES[ruled_by]
    if isinstance(rule, Shared):
        return
    table, role = sql.Identifier(name), sql.Identifier(TENANTS_ROLE)
    row = connection.execute(QUERIES["owner"], [name]).fetchone()
    assert row is not None, name
    owner = sql.Identifier(str(row[0]))
    forced = not isinstance(rule, Isolated) or rule.forced
    old = connection.execute(QUERIES["policies"], [name]).fetchall()
    steps = [
        *(sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(str(one)), table) for (one,) in old),
        sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(table),
        sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table),
        sql.SQL("REVOKE ALL ON {} FROM PUBLIC, {}").format(table, role),
    ]
    if forced:
        steps += [
            sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table),
            sql.SQL("CREATE POLICY every_tenant ON {} TO {} USING (true) WITH CHECK (true)").format(
                table, owner
            ),
        ]
    if isinstance(rule, Isolated):
        condition = sql.SQL(rule.condition)
        if rule.grants == ("INSERT",):
            text = "CREATE POLICY own_tenant ON {} FOR INSERT TO {} WITH CHECK ({})"
            steps.append(sql.SQL(text).format(table, role, condition))
        else:
            text = "CREATE POLICY own_tenant ON {} TO {} USING ({}) WITH CHECK ({})"
            steps.append(sql.SQL(text).format(table, role, condition, condition))
        if rule.changeable:
            changeable = sql.SQL(rule.changeable)
            text = "CREATE POLICY own_additions ON {} AS RESTRICTIVE FOR INSERT TO {} WITH CHECK ({})"
            steps.append(sql.SQL(text).format(table, role, changeable))
            text = "CREATE POLICY own_deletions ON {} AS RESTRICTIVE FOR DELETE TO {} USING ({})"
            steps.append(sql.SQL(text).format(table, role, changeable))
        if name == ruled_by and rule.grants:
            grants = sql.SQL(", ").join(sql.SQL(grant) for grant in rule.grants)
            steps.append(sql.SQL("GRANT {} ON {} TO {}").format(grants, table, role))
        if name == ruled_by and rule.updates:
            columns = sql.SQL(", ").join(sql.Identifier(column) for column in rule.updates)
            steps.append(sql.SQL("GRANT UPDATE ({}) ON {} TO {}").format(columns, table, role))
    for step in steps:
        connection.execute(step)


def require_subject(connection: Connection) -> None:
    """Raise `NotIsolated` where the role of `connection` is not bound by every policy."""
    (found,) = fetch(connection, QUERIES["privileges"], _Privileges)
    if found.unbound or found.owner:
        raise NotIsolated(
            "the tenant API's database role is a superuser, an owner of tables or has BYPASSRLS: row-level "
            f"security would not hold. Log in as {TENANTS_ROLE} (QUIZSTREAM_TENANTS_DATABASE_URL)."
        )
    if found.unguarded:
        raise NotIsolated(
            f"tables without row-level security are open to the tenant API: {', '.join(found.unguarded)}. "
            "Run `python -m sinks.postgres.schema.migrate`."
        )

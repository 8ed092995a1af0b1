"""Which table holds whose data, and what the tenant API may do with it; a test compares the schema.

The processes of the stream and the operators' commands act for every tenant: the owner's policy lets every
row through, and PostgreSQL leaves such a condition out of its plans. `quizstream_tenants` is the role of the
tenant API: it sees and changes rows of `current_tenant()` alone, which each of its transactions sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.records import EVERY_TENANT

TENANTS_ROLE = "quizstream_tenants"
TENANT_SETTING = "quizstream.tenant"

READ = ("SELECT",)
READ_AND_ADD = ("SELECT", "INSERT")
WRITE = ("SELECT", "INSERT", "UPDATE")
EVERYTHING = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class Isolated:
    """Rows of a tenant: those of the current one fulfil `condition` (SQL). `grants`: of the tenant API.

    `updates`: columns that it changes, where that is not UPDATE of all of them.
    `changeable`: a condition for rows that it adds or deletes; others of the tenant it only reads.
    `forced`: the owner needs a policy too. Without it `COPY` into the table is possible for an owner that is
    not a superuser.
    """

    condition: str
    grants: tuple[str, ...] = ()
    forced: bool = True
    changeable: str = ""
    updates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """Data of tenants that the tenant API never reads: row-level security without a policy for its role."""

    why: str


@dataclass(frozen=True, slots=True)
class Shared:
    """Without data of tenants; the tenant API has no grant. `why`: what it holds."""

    why: str


Rule = Isolated | Unseen | Shared

_OWN = "tenant_id = current_tenant()"


def _own(*grants: str) -> Isolated:
    return Isolated(_OWN, grants)


def _of_campaign(campaign_id: str) -> str:
    return (
        "EXISTS (SELECT FROM campaigns AS c"
        f" WHERE c.campaign_id = {campaign_id} AND c.tenant_id = current_tenant())"
    )


_SCOPE = (
    "scope = 'tenant:' || current_tenant()"
    f" OR scope LIKE 'campaign:%' AND {_of_campaign('substr(scope, 10)')}"
    " OR scope LIKE 'number:%' AND EXISTS (SELECT FROM sender_numbers AS n"
    " WHERE n.number_id = substr(scope, 8) AND n.tenant_id = current_tenant())"
)

_KEY = "convert_from(key, 'UTF8')"
_KEYS_CAMPAIGN = _of_campaign(f"split_part({_KEY}, '|', 1)")

# An event is of the tenant whose object has its key: no other object's events can be added.
_EVENT = (
    "topic = 'quizzes' AND EXISTS (SELECT FROM quizzes AS q"
    f" WHERE q.quiz_id = {_KEY} AND q.tenant_id = current_tenant())"
    f" OR topic = 'campaigns' AND {_KEYS_CAMPAIGN}"
    " OR topic = 'tokens' AND EXISTS (SELECT FROM tokens AS t"
    f" WHERE t.token_hash = {_KEY} AND t.tenant_id = current_tenant())"
    f" OR topic = 'tenants' AND {_KEY} = current_tenant()"
)

RULES: Mapping[str, Rule] = {
    "audit_log": _own(*READ_AND_ADD),
    "budget_bookings": Unseen("which deliveries wait for a place in a budget, over all tenants"),
    "budget_uses": Unseen("people and attempts that are counted, over all tenants of a portfolio"),
    "budgets": Unseen("limits of portfolios and numbers, which several tenants may share"),
    "campaign_rejections": Unseen("what providers rejected, which decides over a campaign's stop"),
    "campaign_versions": Isolated(_of_campaign("campaign_versions.campaign_id"), READ_AND_ADD),
    "campaigns": _own(*WRITE),
    "completions": _own(*READ),
    "completions_apart": Unseen("ids and days of completions"),
    "consent_words": _own(*EVERYTHING),
    "contact_aliases": _own(*READ),
    "contacts": _own(*READ),
    "dead_letters": Unseen("whole records of every tenant; operators redrive them"),
    "deliveries": _own(*READ),
    "delivery_attempts": Isolated(
        "EXISTS (SELECT FROM deliveries AS d"
        " WHERE d.delivery_id = delivery_attempts.delivery_id AND d.tenant_id = current_tenant())",
        READ,
    ),
    "duplicates": _own(*READ),
    "idempotent_requests": _own("SELECT", "INSERT", "UPDATE"),
    "inbound_events": Unseen("texts that contacts sent"),
    "inbound_people": Unseen("whose texts they are"),
    "outbox": Isolated(f"{_OWN} AND ({_EVENT})", ("INSERT",), forced=False),
    "outbox_positions": Shared("offsets"),
    "outcomes": _own(*READ),
    "provider_notices": Unseen("what providers report about accounts of several tenants"),
    "provider_statuses": Isolated(
        "EXISTS (SELECT FROM delivery_attempts AS a"
        " JOIN deliveries AS d ON d.delivery_id = a.delivery_id"
        " WHERE a.attempt_id = provider_statuses.attempt_id AND d.tenant_id = current_tenant())",
        READ,
    ),
    "quizzes": _own(*WRITE),
    "recovered_attempts": Unseen("of a recovery"),
    "recovered_deliveries": Unseen("of a recovery"),
    "recovery_targets": Shared("offsets"),
    "routed_pools": Unseen("how the deliveries of a tenant are routed"),
    "schema_migrations": Shared("versions of the schema"),
    "sender_numbers": _own(*WRITE),
    "sender_processes": Shared("which processes send"),
    "sending_permit": Shared("one row of the deployment"),
    "sending_releases": Unseen("when operators released what providers had stopped"),
    # A tenant ends its own pauses, never the stop of an operator or of a provider.
    "sending_stops": Isolated(_SCOPE, ("SELECT", "INSERT", "DELETE"), changeable="by_tenant"),
    "sink_offsets": Shared("offsets"),
    "suppressions": _own(*WRITE),
    "tenants": Isolated(f"{_OWN} OR current_tenant() = '{EVERY_TENANT}'", WRITE),
    # The platform's own are revocations alone: none that would be in force can be added.
    "tokens": Isolated(f"{_OWN} AND (tenant_id <> '{EVERY_TENANT}' OR revoked_at IS NOT NULL)", WRITE),
    # The tenant of a user, its id and its address never change.
    "users": Isolated(
        _OWN,
        ("SELECT", "INSERT"),
        updates=("role", "state", "state_changed_at", "password_hash", "password_changed_at"),
    ),
    "visits": _own(*READ),
    "webhook_keys": Unseen("hashes of keys of numbers; operators make them"),
    # A tenant neither ends an operator's pause nor deletes what is paused.
    "webhook_endpoints": Isolated(
        _OWN,
        ("SELECT", "INSERT", "DELETE"),
        changeable="held_reason = ''",
        updates=(
            *("url", "kinds", "description", "state", "state_reason", "failing_since"),
            *("salt", "previous_salt", "previous_until"),
        ),
    ),
    "webhook_messages": _own("SELECT", "UPDATE"),
}

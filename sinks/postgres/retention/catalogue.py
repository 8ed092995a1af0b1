"""How long each table keeps its rows, or why it keeps them. A test compares it with the schema.

Settings are under `retention` in topology.yaml unless named otherwise; `docs/retention.md` has the same list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows are deleted: `setting` of topology.yaml is their age, counted from `since`."""

    setting: str
    since: str


@dataclass(frozen=True, slots=True)
class Bounded:
    """Rows go by themselves, or there are only as many as something that does not grow: `why`."""

    why: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows are kept on purpose: `why`."""

    why: str


Rule = Deleted | Bounded | Kept

RULES: Mapping[str, Rule] = {
    "audit_log": Deleted("postgres.audit_log_days", "the action"),
    "budget_bookings": Bounded("deleted with the call, and soon after a delivery does not wait any more"),
    "budget_uses": Bounded("a row for each call of the last 24 h; older ones go with the next mark"),
    "budgets": Bounded("a row for each portfolio and each session number"),
    "campaign_rejections": Deleted(
        "retention.ended_campaign_days",
        "with the campaign's deliveries; few, and earlier by an accepted message",
    ),
    "campaign_versions": Kept("small; a restored ledger and the matches of a rewind need every version"),
    "campaigns": Kept("small; an id must not be used again for other contacts' messages"),
    "completions": Deleted("retention.archive_days", "the completion's day; a whole partition"),
    "completions_apart": Deleted("retention.archive_days", "the completion's day"),
    "consent_words": Bounded("at most 200 for each tenant; made by operators"),
    "contact_aliases": Kept("an opt-out through an alias must be found, without limit; keyed hashes only"),
    "contacts": Deleted("retention.contact_days", "the contact's last completion, unless a delivery is open"),
    "dead_letters": Deleted("dead_letters.row_retention_days", "the failure; the record itself goes earlier"),
    "deliveries": Deleted("retention.ended_campaign_days", "the campaign's end and the last change"),
    "delivery_attempts": Deleted("retention.ended_campaign_days", "with their delivery"),
    "duplicates": Deleted("retention.archive_days", "the completion's day; a whole partition"),
    "idempotent_requests": Deleted("retention.idempotency_days", "the request"),
    "inbound_events": Deleted("postgres.inbound_days", "the arrival; an unresolved opt-out later"),
    "inbound_people": Deleted("postgres.inbound_days", "with their event"),
    "outbox": Bounded("a row is deleted once it is published"),
    "outbox_positions": Bounded("a row for each partition of a topic"),
    "outcomes": Deleted("retention.archive_days", "the completion's day; a whole partition"),
    "provider_notices": Deleted("postgres.audit_log_days", "the arrival"),
    "provider_statuses": Deleted("retention.provider_status_days", "the provider's time of the status"),
    "quizzes": Kept("small; made by operators, without personal data"),
    "recovered_attempts": Bounded("deleted at the end of a recovery"),
    "recovered_deliveries": Bounded(
        "deleted at the end of a recovery, except those without a row (a metric)"
    ),
    "recovery_targets": Bounded("deleted at the end of a recovery"),
    "routed_pools": Bounded("a row for each tenant that has numbers"),
    "schema_migrations": Bounded("a row for each migration"),
    "sender_numbers": Kept("small; made by operators, and attempts name them"),
    "sender_processes": Bounded("deleted an hour after the process ended"),
    "sending_permit": Bounded("one row"),
    "sending_releases": Bounded(
        "a row a number and campaign; older than eight days they go with the next release"
    ),
    "sending_stops": Bounded("deleted when sending is resumed"),
    "sink_offsets": Bounded("a row for each partition of a sink's topic"),
    "suppressions": Kept("a contact that opted out gets no message, without limit; keyed hashes only"),
    "tenants": Kept("small; made by operators"),
    "tokens": Deleted("retention.revoked_token_days", "the revocation or expiry; hashes only"),
    "users": Deleted("retention.disabled_user_days", "since it is disabled; an active user is kept"),
    "visits": Deleted("retention.visit_days", "the visit's day; a whole partition"),
    "webhook_keys": Bounded("a row for each session number; hashes only"),
    "webhook_endpoints": Bounded("at most webhooks.endpoints_max for each tenant; a deleted one is gone"),
    "webhook_messages": Deleted("retention.webhook_message_days", "the event, in whatever state"),
}

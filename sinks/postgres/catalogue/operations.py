"""Operators' changes of the catalogue: each change and its entry in the audit log are one transaction.

The command line and every other surface for operators call these functions. `actor` names who acts. An action
that changes nothing leaves no entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pipeline.topology.file import Campaigns as Limits
from schemas.quiz_page import Language
from schemas.records import EVERY_TENANT, Campaign, Quiz, Token
from sinks.postgres.audit_log import record, record_of
from sinks.postgres.catalogue.campaigns import (
    CampaignDraft,
    cancel_campaign,
    newest_campaign,
    save_campaign,
)
from sinks.postgres.catalogue.catalogue import save_token, token_hash
from sinks.postgres.catalogue.event_size import EVENT_BYTES_MAX
from sinks.postgres.catalogue.numbers import NumberDraft, save_credential, save_number
from sinks.postgres.catalogue.quizzes import QuizDraft, get_quiz, save_quiz
from sinks.postgres.catalogue.rejections import UnknownTenant
from sinks.postgres.catalogue.suppressions import suppress, unsuppress
from sinks.postgres.catalogue.tenants import save_limits, save_tenant, tenant_exists
from sinks.postgres.connect import Connection

IMPORT_BATCH_MAX = 1_000


class _Versioned(Protocol):
    @property
    def version(self) -> int: ...


def add_tenant(
    connection: Connection, actor: str, tenant_id: str, name: str, language: Language | None = None
) -> bool:
    """Makes or renames a tenant; returns whether anything changed. Raises `TenantRejected`."""
    with connection.transaction():
        changed = save_tenant(connection, tenant_id, name, language)
        if changed:
            record_of(connection, tenant_id, actor, "tenant.add", tenant_id)
    return changed


def change_limits(
    connection: Connection, actor: str, tenant_id: str, changes: Mapping[str, int | None]
) -> tuple[dict[str, int], bool]:
    """Change rate limits of a tenant; return those that it has of its own, and whether any changed.

    None ends its own. Raises `TenantRejected` and `UnknownTenant`.
    """
    with connection.transaction():
        limits, changed = save_limits(connection, tenant_id, changes)
        if changed:
            record_of(connection, tenant_id, actor, "tenant.limits", tenant_id, **changes)
    return limits, changed


def add_quiz(
    connection: Connection, actor: str, draft: QuizDraft, now_ms: int, bytes_max: int = EVENT_BYTES_MAX
) -> Quiz:
    """The quiz as stored. Raises `QuizRejected` and `UnknownTenant`."""
    with connection.transaction():
        before = get_quiz(connection, draft.quiz_id)
        quiz = save_quiz(connection, draft, now_ms, bytes_max)
        if _is_new(quiz, before):
            record(connection, actor, "quiz.add", quiz.quiz_id, tenant=quiz.tenant_id, version=quiz.version)
    return quiz


def add_campaign(
    connection: Connection,
    actor: str,
    draft: CampaignDraft,
    limits: Limits,
    now_ms: int,
    bytes_max: int = EVENT_BYTES_MAX,
) -> Campaign:
    """The campaign's newest version. Raises `CampaignRejected` and `UnknownTenant`."""
    with connection.transaction():
        before = newest_campaign(connection, draft.campaign_id)
        campaign = save_campaign(connection, draft, limits, now_ms, bytes_max)
        if _is_new(campaign, before):
            detail = {"tenant": campaign.tenant_id, "version": campaign.version}
            record(connection, actor, "campaign.save", campaign.campaign_id, **detail)
    return campaign


def end_campaign(connection: Connection, actor: str, campaign_id: str, now_ms: int) -> Campaign:
    """Cancel a campaign permanently; return its last version. Raises `UnknownCampaign`."""
    with connection.transaction():
        before = newest_campaign(connection, campaign_id)
        last = cancel_campaign(connection, campaign_id, now_ms)
        if _is_new(last, before):
            record_of(connection, last.tenant_id, actor, "campaign.cancel", campaign_id, version=last.version)
    return last


def add_number(connection: Connection, actor: str, draft: NumberDraft) -> bool:
    """Makes or changes a number; returns whether anything changed. Raises `NumberRejected`."""
    with connection.transaction():
        changed = save_number(connection, draft)
        if changed:
            detail = {
                "tenant": draft.tenant_id,
                "provider": draft.provider,
                "base_url": draft.base_url,
                "credential": draft.credential,
                "messages_per_s": draft.messages_per_s,
                "messages_per_minute": draft.messages_per_minute,
                "messages_per_day": draft.messages_per_day,
                "coexistence": draft.coexistence,
            }
            record(connection, actor, "number.add", draft.number_id, **detail)
    return changed


def change_credential(connection: Connection, actor: str, number_id: str, credential: str) -> bool:
    """Another access token for a number, by the name of its variable; returns whether it changed.

    Raises `NumberRejected` and `UnknownNumber`.
    """
    with connection.transaction():
        changed = save_credential(connection, number_id, credential)
        if changed:
            record(connection, actor, "number.rotate-credential", number_id, credential=credential)
    return changed


def change_token(
    connection: Connection, actor: str, token: str, tenant_id: str, *, revoked: bool = False
) -> Token:
    """Creates or revokes a service token. Raises `UnknownTenant`; `*` serves every tenant."""
    with connection.transaction():
        if tenant_id != EVERY_TENANT and not tenant_exists(connection, tenant_id):
            raise UnknownTenant(tenant_id)
        saved = save_token(connection, token_hash(token), tenant_id, revoked=revoked)
        action = "token.revoke" if revoked else "token.create"
        record_of(connection, tenant_id, actor, action, tenant_id, token_hash=saved.token_hash)
    return saved


def add_suppressions(
    connection: Connection, actor: str, tenant_id: str, contacts: Sequence[str], reason: str
) -> int:
    """Suppresses the contacts in batches of IMPORT_BATCH_MAX; returns how many were not before.

    Where it is broken off, the same call again does the rest.
    """
    new = 0
    for begin in range(0, len(contacts), IMPORT_BATCH_MAX):
        batch = contacts[begin : begin + IMPORT_BATCH_MAX]
        with connection.transaction():
            added = suppress(connection, tenant_id, batch, reason)
            if added:
                subject = batch[0] if len(contacts) == 1 else tenant_id
                detail = {"tenant": tenant_id, "contacts": added, "reason": reason}
                record(connection, actor, "suppression.add", subject, **detail)
        new += added
    return new


def remove_suppression(connection: Connection, actor: str, tenant_id: str, contact: str, reason: str) -> bool:
    """The contact may be written to again; returns whether it was suppressed."""
    with connection.transaction():
        removed = unsuppress(connection, tenant_id, contact, reason)
        if removed:
            record(connection, actor, "suppression.remove", contact, tenant=tenant_id, reason=reason)
    return removed


def _is_new(after: _Versioned, before: _Versioned | None) -> bool:
    return before is None or after.version != before.version

"""What operators and seeds put in place. Each change writes its event into the outbox, in one transaction.

Saving what is there already changes nothing and makes no version, so that a seed may run at every start. All
functions take a connection in autocommit, or join the transaction that is open on it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

from schemas.codec import codec
from schemas.records import Token
from sinks.postgres.catalogue.campaigns import (
    CampaignDraft,
    CampaignRejected,
    UnknownCampaign,
    cancel_campaign,
    newest_campaign,
    save_campaign,
)
from sinks.postgres.catalogue.numbers import (
    NumberDraft,
    NumberRejected,
    UnknownNumber,
    list_numbers,
    save_number,
)
from sinks.postgres.catalogue.quizzes import QuizDraft, QuizRejected, get_quiz, list_quizzes, save_quiz
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.catalogue.suppressions import list_suppressions, suppress, unsuppress
from sinks.postgres.catalogue.tenants import TenantRejected, list_tenants, save_tenant
from sinks.postgres.connect import Connection
from sinks.postgres.outbox import enqueue
from sinks.postgres.queries import load_queries

__all__ = [
    "CampaignDraft",
    "CampaignRejected",
    "NumberDraft",
    "NumberRejected",
    "QuizDraft",
    "QuizRejected",
    "Rejection",
    "TenantRejected",
    "UnknownCampaign",
    "UnknownNumber",
    "UnknownTenant",
    "cancel_campaign",
    "get_quiz",
    "list_numbers",
    "list_quizzes",
    "list_suppressions",
    "list_tenants",
    "newest_campaign",
    "save_campaign",
    "save_number",
    "save_quiz",
    "save_tenant",
    "save_token",
    "suppress",
    "token_hash",
    "unsuppress",
]

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
TOKENS_ROLE = "tokens"


def token_hash(token: str) -> str:
    """SHA-256, hex: all that is ever stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def save_token(connection: Connection, hashed: str, tenant_id: str, *, revoked: bool = False) -> Token:
    """A service token by its `token_hash`; tenant `*` serves every tenant. Revoking is saving it revoked."""
    with connection.transaction():
        connection.execute(QUERIES["begin_token"], [hashed, tenant_id, "service"])
        row = connection.execute(QUERIES["lock_token"], [hashed]).fetchone()
        tenant_before, _, version, revoked_before = cast(tuple[str, str, int, bool], row)
        if version > 0 and (tenant_before, revoked_before) == (tenant_id, revoked):
            return Token(hashed, tenant_id, version, revoked=revoked)
        token = Token(hashed, tenant_id, version + 1, revoked=revoked)
        connection.execute(QUERIES["update_token"], [tenant_id, token.kind, token.version, revoked, hashed])
        enqueue(connection, TOKENS_ROLE, hashed.encode(), codec("token").encode(token))
        return token

"""What operators and seeds put in place. Each change writes its event into the outbox, in one transaction.

Saving what is there already changes nothing and makes no version, so that a seed may run at every start. All
functions take a connection in autocommit, or join the transaction that is open on it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import msgspec

from schemas.codec import codec
from schemas.records import Token
from sinks.postgres.catalogue.campaigns import (
    CampaignDraft,
    CampaignRefused,
    UnknownCampaign,
    cancel_campaign,
    newest_campaign,
    save_campaign,
)
from sinks.postgres.catalogue.quizzes import QuizDraft, QuizRefused, get_quiz, save_quiz
from sinks.postgres.catalogue.refusals import Refusal, UnknownTenant
from sinks.postgres.connect import Connection
from sinks.postgres.outbox import enqueue
from sinks.postgres.queries import load_queries

__all__ = [
    "CampaignDraft",
    "CampaignRefused",
    "NumberDraft",
    "QuizDraft",
    "QuizRefused",
    "Refusal",
    "UnknownCampaign",
    "UnknownTenant",
    "cancel_campaign",
    "get_quiz",
    "newest_campaign",
    "save_campaign",
    "save_number",
    "save_quiz",
    "save_tenant",
    "save_token",
    "suppress",
    "token_hash",
]

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
TOKENS_ROLE = "tokens"


class NumberDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sending number. `credential` is the NAME of the environment variable that holds the access token."""

    number_id: str
    tenant_id: str
    provider: str
    base_url: str
    credential: str
    messages_per_s: int | None = None
    messages_per_minute: int | None = None  # for a slow number; it wins over messages_per_s


def save_tenant(connection: Connection, tenant_id: str, name: str) -> None:
    """Makes or renames a tenant."""
    connection.execute(QUERIES["save_tenant"], [tenant_id, name])


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


def save_number(connection: Connection, draft: NumberDraft) -> bool:
    """Makes or changes a sending number; its lease and state stay. Returns whether anything changed."""
    return (
        connection.execute(
            QUERIES["save_number"],
            [
                draft.number_id,
                draft.tenant_id,
                draft.provider,
                draft.base_url,
                draft.credential,
                draft.messages_per_s,
                draft.messages_per_minute,
            ],
        ).rowcount
        == 1
    )


def suppress(connection: Connection, tenant_id: str, contact_id: str, reason: str) -> bool:
    """Nothing is sent to the contact from now on; returns whether it was not so before."""
    return connection.execute(QUERIES["suppress"], [tenant_id, contact_id, reason]).rowcount == 1

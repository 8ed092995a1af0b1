"""Restores what is newer in Kafka than in a restored catalogue: limits, quizzes, campaigns, tokens and keys.

Versions are immutable, so a campaign that was saved after the copy is restored unchanged: the next one saved
would take its number. A campaign whose newest version is missing in the copy and is not active is restored as
cancelled: the topic does not distinguish cancelled from ended, and a missing message can be sent later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.model import Topology
from schemas.codec import Undecodable, codec
from schemas.records import Campaign, Quiz, Tenant, Token, WebhookKey
from sinks.postgres.connect import Connection
from sinks.postgres.outbox import enqueue
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("restore.sql"))


def restore_catalogue(connection: Connection, topology: Topology, bootstrap: str) -> int:
    """Store what is newer than the tables, and publish it again, so that compaction keeps it.

    Returns how many records were newer; idempotent. Raises KafkaException.
    """
    restored = 0
    takers: dict[str, Callable[[Connection, Any], bool]] = {
        "tenants": _tenant,
        "quizzes": _quiz,
        "tokens": _token,
        "webhook_keys": _webhook_key,
        "campaigns": _campaign,
    }
    for role, take in takers.items():
        for key, value, event in _records(topology, bootstrap, role):
            with connection.transaction():
                if take(connection, event):
                    enqueue(connection, role, key, value)
                    restored += 1
    return restored


def _records(topology: Topology, bootstrap: str, role: str) -> Iterator[tuple[bytes, bytes, Any]]:
    topic = topology.topic(role)
    decode = codec(str(topic.schema)).decode
    for record in TopicScan(bootstrap, topic).records():
        if record.key is not None and record.value is not None:
            try:
                yield record.key, record.value, decode(record.value)
            except Undecodable:
                continue  # the followers of the topic skip it, too


def _campaign(connection: Connection, campaign: Campaign) -> bool:
    connection.execute(QUERIES["save_tenant"], [campaign.tenant_id, campaign.tenant_id])
    connection.execute(
        QUERIES["save_campaign"],
        [campaign.campaign_id, campaign.tenant_id, campaign.month, campaign.effective_at],
    )
    definition = msgspec.json.encode(campaign).decode()
    new = connection.execute(
        QUERIES["save_version"],
        [campaign.campaign_id, campaign.version, definition, campaign.effective_at],
    ).rowcount
    if new and not campaign.active:
        connection.execute(
            QUERIES["settle_cancellation"],
            {"campaign": campaign.campaign_id, "version": campaign.version, "at": campaign.effective_at},
        )
    return bool(new)


def _quiz(connection: Connection, quiz: Quiz) -> bool:
    connection.execute(QUERIES["save_tenant"], [quiz.tenant_id, quiz.tenant_id])
    questions = msgspec.json.encode(quiz.questions).decode()
    former = msgspec.json.encode(quiz.former_questions).decode()
    values = [
        quiz.quiz_id,
        quiz.tenant_id,
        quiz.version,
        quiz.title,
        questions,
        quiz.open,
        quiz.created_at,
        former,
    ]
    return bool(connection.execute(QUERIES["save_quiz"], values).rowcount)


def _tenant(connection: Connection, tenant: Tenant) -> bool:
    limits = msgspec.json.encode(tenant.limits).decode()
    values = [tenant.tenant_id, tenant.tenant_id, tenant.version, limits]
    return bool(connection.execute(QUERIES["save_limits"], values).rowcount)


def _token(connection: Connection, token: Token) -> bool:
    values = [
        *(token.token_hash, token.tenant_id, token.kind, token.version, token.revoked),
        *(token.role, token.scopes, token.expires_at, token.key_id),
    ]
    return bool(connection.execute(QUERIES["save_token"], values).rowcount)


def _webhook_key(connection: Connection, key: WebhookKey) -> bool:
    values = [
        key.number_id,
        key.provider,
        key.version,
        key.key_hash,
        key.former_hash,
        key.former_until or None,
    ]
    return bool(connection.execute(QUERIES["save_webhook_key"], values).rowcount)

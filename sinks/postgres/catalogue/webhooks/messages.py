"""Messages to a tenant's endpoints: what was sent, what waits, and sending one again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sinks.postgres.audit_log import record_of
from sinks.postgres.catalogue.rejections import Rejection
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("messages.sql"))
STATES = ("pending", "delivered", "failed")


class UnknownMessage(Rejection):
    """There is no such message, or its endpoint was deleted."""

    def __init__(self, message_id: str) -> None:
        super().__init__(message_id, ["there is no such webhook message, or its endpoint was deleted"])


class Message(NamedTuple):
    """`message_id` is the header `webhook-id`. `attempts`: since it was queued or last redelivered."""

    number: int
    message_id: str
    endpoint_id: str
    delivery_id: str
    kind: str
    state: str
    attempts: int
    last_error: str
    due_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


def list_messages(
    connection: Connection,
    tenant_id: str,
    *,
    limit: int,
    before: int | None = None,
    endpoint_id: str | None = None,
    state: str | None = None,
) -> Page[Message]:
    """The newest first; `before` is the cursor of the page before."""
    given = {
        "tenant": tenant_id,
        "before": before,
        "endpoint": endpoint_id,
        "state": state,
        "limit": limit + 1,
    }
    found = fetch(connection, QUERIES["list_messages"], Message, given)
    return page_of(found, limit, lambda one: str(one.number))


def redeliver(connection: Connection, actor: str, tenant_id: str, message_id: str) -> bool:
    """Send an ended message again, under the same id; return False where it is pending already.

    Raises `UnknownMessage`.
    """
    given = {"tenant": tenant_id, "message": message_id}
    with connection.transaction():
        if connection.execute(QUERIES["redeliver"], given).rowcount == 1:
            record_of(connection, tenant_id, actor, "webhook.redeliver", message_id)
            return True
        row = connection.execute(QUERIES["find_message"], given).fetchone()
        if row is None or row[0] != "pending":
            raise UnknownMessage(message_id)
    return False

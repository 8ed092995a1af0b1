"""Whether an event that the tenant API has put into the outbox is of its tenant's own object.

A policy allows only keys of the tenant's objects; what is in the event only this sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pipeline.topology.model import Topology
from schemas.codec import Undecodable, codec
from schemas.ids import campaign_key
from schemas.records import EVERY_TENANT

_KEYS: Mapping[str, Callable[[Any], bytes]] = {
    "quizzes": lambda quiz: bytes(quiz.quiz_id.encode()),
    "campaigns": lambda campaign: campaign_key(campaign.campaign_id, campaign.version),
    "tokens": lambda token: bytes(token.token_hash.encode()),
    "tenants": lambda tenant: bytes(tenant.tenant_id.encode()),
}


class _Row(Protocol):
    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def tenant_id(self) -> str | None: ...


def not_of_tenant(row: _Row, topology: Topology) -> str | None:
    """Return why the event is not the tenant's; None where it is, or where no tenant has put it there."""
    if row.tenant_id is None:
        return None
    key_of = _KEYS.get(row.topic)
    if key_of is None or row.value is None:
        return "tenants have no such events"
    try:
        event = codec(topology.topic(row.topic).schema or "").decode(bytes(row.value))
    except Undecodable:
        return "it cannot be decoded"
    if event.tenant_id != row.tenant_id:
        return "it names another tenant"
    if row.topic == "tokens" and event.tenant_id == EVERY_TENANT and not event.revoked:
        return "a token of every tenant can only be revoked"
    return None if key_of(event) == bytes(row.key) else "its key is that of another object"

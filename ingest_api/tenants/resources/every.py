"""All operations of the tenant API, on one screen."""

from __future__ import annotations

from ingest_api.tenants.api.operation import Operation
from ingest_api.tenants.resources import (
    analytics,
    api_keys,
    campaigns,
    contacts,
    deliveries,
    numbers,
    quizzes,
    suppressions,
    tenants,
    users,
    webhooks,
)

OPERATIONS: tuple[Operation, ...] = (
    *quizzes.OPERATIONS,
    *analytics.OPERATIONS,
    *campaigns.OPERATIONS,
    *numbers.OPERATIONS,
    *suppressions.OPERATIONS,
    *contacts.OPERATIONS,
    *deliveries.OPERATIONS,
    *webhooks.OPERATIONS,
    *api_keys.OPERATIONS,
    *users.OPERATIONS,
    *tenants.OPERATIONS,
)

"""How many transactions of one tenant run at once: slow ones of one leave connections to the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingest_api.http.problems import RATE_LIMITED, rejection
from ingest_api.tenants.pool.metrics import BEYOND_SHARE

RETRY_AFTER_S = 1.0


class Shares:
    """For the event loop's thread."""

    def __init__(self, of_tenant_max: int) -> None:
        self._of_tenant_max = of_tenant_max
        self._in_flight: dict[str, int] = {}

    @contextmanager
    def one_of(self, tenant_id: str) -> Iterator[None]:
        """Count one until the end of the block. Raises Rejection where the tenant has its share in flight."""
        before = self._in_flight.get(tenant_id, 0)
        if before >= self._of_tenant_max:
            BEYOND_SHARE.inc()
            raise rejection(
                RATE_LIMITED,
                f"{before} requests of the tenant are in flight, as many as it may have",
                retry_after_s=RETRY_AFTER_S,
            )
        self._in_flight[tenant_id] = before + 1
        try:
            yield
        finally:
            left = self._in_flight[tenant_id] - 1
            if left:
                self._in_flight[tenant_id] = left
            else:
                del self._in_flight[tenant_id]

"""Generated phone numbers may belong to real people: they are never used with a real provider."""

from __future__ import annotations

from urllib.parse import urlsplit

from pipeline.errors import CannotStart
from sinks.postgres.connect import Connection

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NUMBERS = "SELECT number_id, base_url FROM sender_numbers WHERE tenant_id IN (%s, '*') ORDER BY number_id"


def require_simulated_numbers(connection: Connection, tenant_id: str, simulator_url: str) -> None:
    """Raise CannotStart if a sender number of the tenant uses anything but the provider simulator."""
    for number_id, base_url in connection.execute(_NUMBERS, [tenant_id]):
        simulated = str(base_url).rstrip("/") == simulator_url.rstrip("/")
        if not simulated and urlsplit(str(base_url)).hostname not in _LOOPBACK:
            raise CannotStart(
                f"Without --contact-column contacts are generated, and number {number_id} of tenant "
                f"{tenant_id} uses a real provider: strangers could receive messages. Give the column of the "
                "phones."
            )

"""The process `whatsapp-sender`: reads the ledger, calls the providers. Wiring only.

The standard event loop, not uvloop: it hands a write to the kernel at once, uvloop at the end of its
iteration. The check of the time before a call is worth something only if nothing lies between it and
the first byte.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from uuid import uuid4

from pipeline.errors import exit_with_one_line
from pipeline.runtime import health
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from sinks import providers
from sinks.delivery.budget.policy import BudgetPolicy
from sinks.delivery.ledger import Ledger
from sinks.delivery.metrics import SenderMetrics
from sinks.delivery.numbers import Numbers
from sinks.delivery.routing.router import Router
from sinks.delivery.sender import Sender
from sinks.postgres.pool import open_pool
from sinks.provider import Callbacks

log = logging.getLogger(__name__)

# The embedded stack's numbers name it; elsewhere the environment has to have it.
DEFAULT_CREDENTIAL = "WHATSAPP_ACCESS_TOKEN"


def clock_s() -> float:
    """Monotonic seconds that go on while the process is stopped and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def token_source(settings: Settings) -> Callable[[str], str | None]:
    def token_of(credential: str) -> str | None:
        found = os.environ.get(credential)
        return settings.access_token if found is None and credential == DEFAULT_CREDENTIAL else found

    return token_of


def main(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT, which end it within 10 s."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    suppress_repeats()
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # the sender says the same, once
    topology = load(settings.topology_file, settings.topic_namespace)
    asyncio.run(_run(settings, topology))
    return 0


async def _run(settings: Settings, topology: Topology) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pool = open_pool(
        settings.database_url,
        connections_max=topology.postgres.pool_connections_max,
        statement_timeout_ms=topology.postgres.statement_timeout_ms,
    )
    await pool.open()
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    token_of = token_source(settings)
    numbers = Numbers(
        pool,
        owner=owner,
        providers=providers.names(),
        lease_s=topology.sender.number_lease_s,
        has_credential=lambda name: bool(token_of(name)),
        clock=clock_s,
    )

    def callbacks_of(provider: str) -> Callbacks:
        variable = providers.webhooks_of(provider).signing_variable
        secret = os.environ.get(variable, "") if variable is not None else ""
        return Callbacks(settings.edge_url.rstrip("/"), secret.encode())

    budgets = BudgetPolicy(topology.sender.session_messages_per_day)
    sender = Sender(
        Ledger(pool, settings.contact_key, budgets),
        numbers,
        topology.sender,
        router=Router(pool, patience_s=topology.sender.route_patience_s, sessions=budgets.sessions),
        token_of=token_of,
        clock=clock_s,
        rng=random.Random(),
        new_id=uuid4,
        metrics=SenderMetrics(),
        callbacks_of=callbacks_of,
    )

    def ready() -> health.Readiness:
        return health.Readiness(() if sender.database_ok else ("the database does not answer",))

    observed = health.serve(settings.ports.sender_metrics, ready)
    try:
        log.info("sending as %s", owner)
        await sender.run(stop)
    finally:
        await pool.close(timeout=1.0)
        await asyncio.to_thread(observed.stop)


if __name__ == "__main__":
    exit_with_one_line("whatsapp-sender", lambda: main(Settings.from_env()))

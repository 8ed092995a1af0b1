"""Every process of the pipeline, by name: the one place where they are put together.

`python -m ops.processes.table NAME` runs one; the supervisor runs all of them that way.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ops.processes.supervisor import ProcessSpec
from pipeline.errors import CannotStart, exit_with_one_line
from pipeline.runtime.ports import EDGE_ID
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import Settings
from sinks.postgres.isolation.login import tenants_url

# Somebody waits for the edge; the others work through what lies in a log. Where all share two cores an answer
# must not stand in line behind their batches.
BATCH_NICENESS = 10

# Nothing on the hot paths makes reference cycles, so what the cycle collector looks through is what lives
# anyway: requests under way, a batch in hand. At Python's own 700 it took a fifth of the edge's CPU.
COLLECT_AFTER_OBJECTS = 50_000

EDGE = "edge"
TENANTS = "tenants"


@dataclass(frozen=True, slots=True)
class Process:
    """`module` has `main(settings) -> exit status or None`, which returns within 10 s of a SIGTERM.

    `niceness` as the operating system counts it: 0 goes first.
    """

    name: str
    module: str
    about: str
    niceness: int = BATCH_NICENESS


PROCESSES = (
    Process(EDGE, "ingest_api.server", "HTTP edge: completions and provider webhooks in", niceness=0),
    Process(TENANTS, "ingest_api.tenants.server", "tenant API", niceness=0),
    Process("worker", "pipeline.worker", "the stream: limit, match, dedup"),
    Process("postgres-sink", "sinks.process", "topics into tables, and the outbox publisher"),
    Process("simulator", "ops.simulator.server", "a provider that records every call"),
    Process("whatsapp-sender", "sinks.delivery.process", "the ledger's due deliveries to the provider"),
    Process("webhook-sender", "sinks.outbound.process", "events to endpoints of tenants"),
)
NAMES = tuple(process.name for process in PROCESSES)


def specs(settings: Settings, env: Mapping[str, str], edges: int = 1) -> list[ProcessSpec]:
    """What the supervisor keeps running. `env` is everything by which a process finds its deployment.

    `edges`: the number of edge processes. Raises CannotStart where there are not so many on one host.
    """
    health = health_urls(settings, edges)
    own_login = tenants_url(settings)
    without_owner = {**env, "DATABASE_URL": own_login, "QUIZSTREAM_TENANTS_DATABASE_URL": own_login}
    return [
        ProcessSpec(
            name,
            [sys.executable, "-m", "ops.processes.table", process.name],
            {**env, EDGE_ID: str(number)}
            if process.name == EDGE and edges > 1
            else without_owner
            if process.name == TENANTS
            else env,
            health[name],
            niceness=process.niceness,
        )
        for process in PROCESSES
        for number, name in enumerate(edge_names(edges) if process.name == EDGE else [process.name])
    ]


def edge_names(edges: int) -> list[str]:
    """`edge`, `edge-1`, `edge-2`: number 0 has the name of an only one. Raises CannotStart."""
    if edges < 1:
        raise CannotStart(f"unsupported number of edges {edges}: one at least accepts completions.")
    return [EDGE, *(f"{EDGE}-{number}" for number in range(1, edges))]


def health_urls(settings: Settings, edges: int = 1) -> dict[str, str]:
    """Process name -> the address that answers 200 once it does its work. Raises CannotStart."""
    ports = settings.ports
    local = "http://127.0.0.1"
    names = edge_names(edges)
    # Any of several edges may answer at the address of clients.
    own = (
        [settings.edge_url]
        if edges == 1
        else [f"{local}:{ports.edge_own(number)}" for number in range(edges)]
    )
    return {
        **{name: f"{url}/health/ready" for name, url in zip(names, own, strict=True)},
        "tenants": f"{settings.tenants_url}/health/ready",
        "worker": f"{local}:{ports.worker_metrics}/health/ready",
        "postgres-sink": f"{local}:{ports.sink_metrics}/health/ready",
        "simulator": f"{settings.simulator_url}/health/ready",
        "whatsapp-sender": f"{local}:{ports.sender_metrics}/health/ready",
        "webhook-sender": f"{local}:{ports.webhooks_metrics}/health/ready",
    }


def run(name: str, settings: Settings) -> int:
    """Runs a process until it ends.

    Raises KeyError for a name that is none, CannotStart for a process that this installation lacks.
    """
    process = {process.name: process for process in PROCESSES}[name]
    try:
        module = importlib.import_module(process.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{process.module}.".startswith(f"{error.name}."):
            raise
        raise CannotStart(f"{name} is not part of this image: use the development image.") from None
    # What is here by now lives as long as the process.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    return int(module.main(settings) or 0)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    suppress_repeats()
    exit_with_one_line(sys.argv[1], lambda: run(sys.argv[1], Settings.from_env()))

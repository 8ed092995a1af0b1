"""Starts a deployment in order: servers, topics, tables, seeds, processes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ops import locate
from ops.deployment.prepare import DEMO_OPTION, prepare
from ops.deployment.view import View
from ops.embedded.home import Home
from ops.embedded.port_check import require_free
from ops.embedded.stack import SERVERS, EmbeddedStack
from ops.locate import Deployment
from ops.monitoring import lag_metrics, targets
from ops.processes import table
from ops.processes.metrics import Metrics, ServerMetrics
from ops.processes.supervisor import Supervisor
from pipeline.errors import CannotStart, OperatorError
from pipeline.runtime import health
from pipeline.runtime.health import Readiness
from pipeline.runtime.ports import Ports
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import DEVELOPMENT_CONTACT_KEY, DEVELOPMENT_JWKS, Settings

PROCESSES_READY_TIMEOUT_S = 90.0
SIGNAL_SEEN_WITHIN_S = 1.0  # a signal just before a sleep does not end that sleep
LOG_BYTES_MAX = 8_000_000


@dataclass(frozen=True, slots=True)
class Running:
    """A running deployment. `effective_at_ms`: when every seeded campaign is in force, ms since the epoch."""

    deployment: Deployment
    supervisor: Supervisor
    effective_at_ms: int


@contextmanager
def running(
    found: Deployment, view: View, brokers: int | None = None, *, demo: bool = False, edges: int = 1
) -> Iterator[Running]:
    """Run everything inside the `with`; nothing runs after it. Raises CannotStart. `demo` seeds its data.

    `brokers` of an embedded Kafka: 1 or 3; None for the number that the home was created with. `edges`: the
    number of edge processes, which share the edge's port.
    """
    table.health_urls(found.settings, edges)  # a number that no host can have is named before anything starts
    home = Home(found.settings.home)
    ports = Ports.from_base(found.settings.port_base)
    with view.doing("Servers") as progress:
        stack = EmbeddedStack(home.path, ports, progress, brokers=brokers)
        urls = stack.start()
    _log_to(home.logs / "supervisor.log")
    try:
        settings = replace(
            found.settings,
            kafka_bootstrap_servers=urls.kafka_bootstrap,
            database_url=urls.database_url,
            redis_url=urls.redis_url,
            # A new home has its brokers only from here on.
            replication_factor=max(found.settings.replication_factor, stack.brokers),
        )
        if demo:
            settings = with_development_key(settings, os.environ)
        found = replace(found, settings=settings)
        if settings.jwks == DEVELOPMENT_JWKS:
            view.say(
                "The tenant API accepts tokens of a public development key (QUIZSTREAM_JWKS=development)"
            )
        with view.doing("Topics, tables and the demo seeds" if demo else "Topics and tables"):
            effective_at_ms = prepare(found, demo=demo)
        stack.watch(view.say, ServerMetrics())
        with _supervised(found, home, ports, stack.inherited_fds, view, edges) as supervisor:
            yield Running(found, supervisor, effective_at_ms)
    finally:
        with _no_interrupts(), view.doing("Stopping servers"):
            stack.stop()


def with_development_key(settings: Settings, env: Mapping[str, str]) -> Settings:
    """For a demo on servers of its own, with the public secrets: its people sign tokens by hand."""
    own_servers = not any(env.get(name) for name in SERVERS)
    public = settings.contact_key == DEVELOPMENT_CONTACT_KEY.encode()
    if settings.jwks or not own_servers or not public:
        return settings
    return replace(settings, jwks=DEVELOPMENT_JWKS)


@contextmanager
def _supervised(
    found: Deployment, home: Home, ports: Ports, inherited_fds: tuple[int, ...], view: View, edges: int
) -> Iterator[Supervisor]:
    for port, purpose in (
        (ports.edge, "edge"),
        *((ports.edge_own(number), f"edge {number}") for number in range(edges) if edges > 1),
        (ports.tenants, "tenant API"),
        (ports.simulator, "simulator"),
        (ports.worker_metrics, "metrics of the worker"),
        (ports.sink_metrics, "metrics of the Postgres sink"),
        (ports.sender_metrics, "metrics of the sender"),
        (ports.webhooks_metrics, "metrics of the webhook sender"),
        (ports.supervisor_metrics, "metrics of the supervisor"),
    ):
        require_free(port, purpose)
    supervisor = Supervisor(
        table.specs(found.settings, locate.as_env(found.settings), edges),
        home.logs,
        state_file=home.state_file,
        metrics=Metrics(),
        inherited_fds=inherited_fds,
    )
    observed = health.serve(ports.supervisor_metrics, Readiness)
    end_lag = lag_metrics.follow(found)
    targets.write(home.scrape_targets_file, found.settings, edges)
    try:
        with view.doing("Processes"):
            supervisor.start()
            late = supervisor.wait_ready(PROCESSES_READY_TIMEOUT_S)
        if late:
            raise CannotStart(
                f"Not ready after {PROCESSES_READY_TIMEOUT_S:.0f} s: {', '.join(late)}. "
                f"See {home.logs / late[0]}.log"
            )
        yield supervisor
    finally:
        with _no_interrupts(), view.doing("Stopping processes"):
            end_lag()
            supervisor.stop()
            observed.stop()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ignore further Ctrl-C during a clean stop; a process that hangs is killed after its grace period."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def _log_to(path: Path) -> None:
    """Send the libraries' logs to a file: the terminal shows the progress of the start."""
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format=form, handlers=[handler], force=True)
    suppress_repeats()


def end_on_sigterm() -> None:
    """Make SIGTERM and SIGHUP end this process cleanly, like Ctrl-C."""
    # A shell starts background processes with SIGINT ignored; an explicit SIGINT must still end this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)


def addresses(found: Deployment, edges: int = 1) -> list[tuple[str, str]]:
    """Return name and address of each service, for the terminal."""
    settings = found.settings
    ports = Ports.from_base(settings.port_base)
    return [
        ("Edge", f"{settings.edge_url}  (POST /quiz/{{quiz_id}}/completions, /openapi.json, /metrics)"),
        *(
            (f"Edge {number}", f"http://127.0.0.1:{ports.edge_own(number)}  (the same alone, /metrics)")
            for number in range(edges)
            if edges > 1
        ),
        ("Tenant API", f"{settings.tenants_url}  (/v1, /openapi.json, /metrics)"),
        ("Provider simulator", f"{settings.simulator_url}  (/simulator/calls)"),
        ("Metrics", f"http://127.0.0.1:{ports.supervisor_metrics}/metrics  (lag, restarts)"),
        ("Prometheus targets", str(Home(settings.home).scrape_targets_file)),
        ("Kafka", settings.kafka_bootstrap_servers),
        ("PostgreSQL", f"psql \"$(cat '{Home(settings.home).database_url_file}')\""),
        ("Logs", str(Home(settings.home).logs)),
    ]


def serve_until_signal() -> None:
    """Return at Ctrl-C or SIGTERM."""
    try:
        while True:
            time.sleep(SIGNAL_SEEN_WITHIN_S)
    except KeyboardInterrupt:
        return


def stay(brokers: int | None = None, *, demo: bool = False, edges: int = 1) -> int:
    """Run in the foreground until Ctrl-C or SIGTERM; return the exit code."""
    end_on_sigterm()
    view = View()
    try:
        with running(locate.find(), view, brokers, demo=demo, edges=edges) as everything:
            for name, address in addresses(everything.deployment, edges):
                view.say(f"{name:20} {address}")
            serve_until_signal()
    except KeyboardInterrupt:
        return 130
    return 0


def main() -> int:
    """The background process of `quizstream up`: prints its progress on stdout, with `ready` as last line.

    Its optional arguments are `--brokers N`, `--edges N` and `--demo`.
    """
    options = argparse.ArgumentParser()
    options.add_argument("--brokers", type=int)
    options.add_argument("--edges", type=int, default=1)
    options.add_argument(DEMO_OPTION, action="store_true", dest="demo")
    given = options.parse_args()
    end_on_sigterm()
    view = View()
    try:
        with running(locate.find(), view, given.brokers, demo=given.demo, edges=given.edges):
            view.say("ready")
            sys.stdout.flush()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, sys.stdout.fileno())  # the starting process has ended
            serve_until_signal()
    except OperatorError as error:
        view.say(error.message)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The edge process: wiring and server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from ingest_api.abuse.wiring import AbuseDetection
from ingest_api.admission.admitted import Admitted
from ingest_api.admission.concurrency import ConcurrencyLimit
from ingest_api.admission.shed_first import ShedFirst
from ingest_api.app import Parts, build
from ingest_api.completions.receive import ReceiveCompletion, Stamp
from ingest_api.health import Health, Observed
from ingest_api.http.endpoint import Handler
from ingest_api.http.head import BoundedHead
from ingest_api.http.lifecycle import Lifecycle
from ingest_api.http.metrics import BREAKER_STATE, IN_FLIGHT
from ingest_api.http.serving import EdgeServer
from ingest_api.http.sockets import listening
from ingest_api.kafka.client import make_producer
from ingest_api.kafka.producer import Publisher
from ingest_api.limits.connections import Connections, descriptors
from ingest_api.limits.limiter import Limiter
from ingest_api.limits.rate_limited import Callers, RateLimited, Rules
from ingest_api.limits.shared_windows import SharedWindows
from ingest_api.limits.sources import Sources
from ingest_api.limits.tenant_rules import TenantRules
from ingest_api.openapi.document import Description
from ingest_api.openapi.schema_registry import Registry
from ingest_api.ping.ping import Ping
from ingest_api.ping.schedule import PingSchedule
from ingest_api.progress.metrics import SHED
from ingest_api.progress.receive import ReceiveProgress
from ingest_api.quiz_pages.wiring import NAMESPACE, QuizPages
from ingest_api.reference.loader import ReferenceData
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.tokens import Tokens
from ingest_api.reference.webhook_keys import WebhookKeys
from ingest_api.webhooks.of_number import ReceiveNumberWebhook
from ingest_api.webhooks.receive import Accepted, ReceiveWebhook
from ingest_api.webhooks.secrets import secrets_of
from pipeline.cache.cache import CacheService
from pipeline.errors import CannotStart
from pipeline.runtime.ports import EDGE_ID
from pipeline.runtime.reference_data import ReferenceDataFollower
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import Settings
from pipeline.runtime.valkey import connect
from pipeline.topology.loader import load
from pipeline.topology.model import Topic, Topology
from schemas.codec import codec
from sinks import providers
from sinks.webhook import NumberWebhookSource

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 30
STOP_ANSWERS_S = 6  # for requests that were accepted before the stop; a delivery takes less or is rejected
STOP_REPORTS_S = 1.0
BACKLOG = 2048


def main(settings: Settings, env: Mapping[str, str] = os.environ) -> int | None:
    """Serve until SIGTERM or SIGINT; then answer the requests in flight and return within 8 s."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    suppress_repeats()
    topology = load(settings.topology_file, settings.topic_namespace)
    number = edge_id(env)
    sockets, shared = _sockets(settings, number)
    sources = sources_of(settings, topology)
    connections = Connections(topology.edge.connections, sources, descriptors())
    lifecycle = Lifecycle()
    app = make_app(
        settings, topology, lifecycle=lifecycle, connections=connections, sources=sources, number=number
    )
    server = make_server(app, connections, lifecycle, shared)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # uvicorn installs its handler only when it runs and raises the signal again when it has stopped; this
        # handler covers the time before, and keeps the exit code 0.
        signal.signal(stop, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets)
    return 0 if server.started else 1


def edge_id(env: Mapping[str, str]) -> int | None:
    """The number of this edge; None where it is the only one of its host. Raises CannotStart."""
    text = env.get(EDGE_ID, "")
    if text and not text.isdecimal():
        raise CannotStart(f"{EDGE_ID} is {text!r}: it must be a number from 0")
    return int(text) if text else None


def _sockets(settings: Settings, number: int | None) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return its own and the shared ones: several edges share a port, which each joins once it is ready."""
    address = urlsplit(settings.edge_url)
    host, port = address.hostname, address.port or 80
    if number is None:
        return listening(host, port, BACKLOG), []
    # First its own: an edge with the number of another must not be given clients.
    own = listening(host, settings.ports.edge_own(number), BACKLOG)
    log.info("edge %d: health and metrics on port %d", number, settings.ports.edge_own(number))
    return own, listening(host, port, BACKLOG, shared=True)


def sources_of(settings: Settings, topology: Topology) -> Sources:
    return Sources(topology.edge.sources, settings.contact_key)


def make_server(
    app: ASGIApp, connections: Connections, lifecycle: Lifecycle, shared: Sequence[socket.socket] = ()
) -> EdgeServer:
    """Return a server that is not running yet; it is run on `listening` sockets that are not `shared`."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast(Any, partial(BoundedHead, connections)),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_ANSWERS_S,
    )
    return EdgeServer(config, lifecycle, shared)


def make_app(
    settings: Settings,
    topology: Topology,
    stamp: Stamp | None = None,
    *,
    lifecycle: Lifecycle,
    connections: Connections | None = None,
    sources: Sources | None = None,
    number: int | None = None,
) -> ASGIApp:
    """Wire the application; no broker is contacted yet. Tests inject their own `stamp`."""
    edge = topology.edge
    completions, webhooks = topology.topic("completions"), topology.topic("provider_webhooks")
    progress = topology.topic("progress")
    quizzes, tokens, webhook_keys = Quizzes(), Tokens(), WebhookKeys()
    rules = Rules(edge.limits, settings.region)
    own_rules = TenantRules(rules.of_tenants)
    bootstrap = settings.kafka_bootstrap_servers
    publisher = Publisher(
        partial(make_producer, bootstrap, edge.deliver_timeout_ms, topology.record_bytes_max),
        (completions, webhooks, progress),
        failures_max=edge.breaker.failures,
        open_s=edge.breaker.open_s,
        in_flight_max=edge.in_flight_max,
    )
    reference_data = ReferenceData(
        {
            "quizzes": lambda: ReferenceDataFollower(
                bootstrap, topology.topic("quizzes"), codec("quiz"), quizzes.on_event
            ),
            "tokens": lambda: ReferenceDataFollower(
                bootstrap, topology.topic("tokens"), codec("token"), tokens.on_event
            ),
            "tenants": lambda: ReferenceDataFollower(
                bootstrap, topology.topic("tenants"), codec("tenant"), own_rules.on_event
            ),
            "webhook_keys": lambda: ReferenceDataFollower(
                bootstrap, topology.topic("webhook_keys"), codec("webhook_key"), webhook_keys.on_event
            ),
        },
        reached=lambda: publisher.problem is None,
    )
    limits = edge.limits
    limiter = Limiter(
        SharedWindows(
            partial(connect, settings.redis_url, limits.timeout_ms / 1000),
            rules.all,
            topology.namespace,
            gather_s=limits.gather_ms / 1000,
            timeout_s=limits.timeout_ms / 1000,
            process=secrets.token_hex(8),
            region=settings.region,
        ),
        limits.local_keys_max,
        limits.processes_assumed,
    )
    sources = sources or sources_of(settings, topology)
    callers = Callers(rules, own_rules, sources, tokens, quizzes)
    stamp = stamp or Stamp(settings.contact_key, settings.region)
    receive_completion = ReceiveCompletion(
        edge,
        completions,
        codec("completion"),
        publisher,
        reference_data,
        quizzes,
        tokens,
        stamp,
    )
    receive_progress = ReceiveProgress(
        edge, progress, codec("progress"), publisher, reference_data, quizzes, stamp
    )
    in_work = ConcurrencyLimit(edge.admission, time.monotonic)
    admitted = Admitted(
        RateLimited(receive_completion, limiter, callers.of_completion),
        in_work,
        edge.admission.adjust_ms / 1000,
        random.random,
    )
    progressed = ShedFirst(
        RateLimited(receive_progress, limiter, callers.of_progress),
        in_work,
        edge.progress.in_work_ratio_max,
        random.random,
        SHED,
    )
    abuse = AbuseDetection(settings, topology, sources, quizzes, tokens, partial(connect, settings.redis_url))
    completions_guarded = abuse.guard.completions(admitted)
    cache = CacheService(
        topology.cache,
        partial(connect, settings.redis_url, topology.cache.valkey_timeout_ms / 1000),
        f"{topology.namespace}cache:",
        time.monotonic,
        random.Random(),
    )
    pages = QuizPages(settings.database_url, edge, cache, quizzes, reference_data)

    def limited_page(handle: Handler) -> Handler:
        return abuse.guard.pages(RateLimited(handle, limiter, callers.of_quiz_page))

    addresses = sources.of_host.cache_info
    observed = Observed(
        lifecycle,
        publisher,
        reference_data,
        limiter,
        connections,
        page_source=lambda: cache.uses()[NAMESPACE].breaker,
        caches=[lambda: {"addresses": addresses()}, cache.uses],
    )
    health = Health(observed, number)
    parts = Parts(
        completions=completions_guarded,
        progress=abuse.guard.reports(progressed),
        quiz_pages=pages.handlers(limited_page, completions_guarded, abuse.guard.forms),
        page=lambda handle: RateLimited(handle, limiter, callers.of_page),
        webhooks=_webhooks(
            settings, webhooks, publisher, edge.webhook_bytes_max, webhook_keys, reference_data
        ),
        registry=Registry(topology),
        health=health,
        ping=Ping(
            PingSchedule(edge.ping, time.monotonic, random.random),
            lambda: max(publisher.load, in_work.load),
            abuse.guard.is_blocked,
        ),
        description=Description(edge),
        lifecycle=lifecycle,
    )
    start = partial(lifecycle.start, lambda: health.parts_ready().ready)
    running = partial(_running, publisher, reference_data, limiter, admitted, abuse, cache, pages, start)
    return build(parts, running)


def _webhooks(
    settings: Settings,
    topic: Topic,
    publisher: Publisher,
    bytes_max: int,
    keys: WebhookKeys,
    reference_data: ReferenceData,
) -> dict[str, Handler]:
    """By each name that a provider has or had; a provider whose secret is not set has no route.

    One whose numbers have keys of their own has a route of each number.
    """
    receivers: dict[str, Handler] = {}
    for name in providers.names():
        source = providers.webhooks_of(name)
        accepted = Accepted(source, topic, codec("provider_webhook"), publisher)
        if isinstance(source, NumberWebhookSource):
            receivers[f"{name}/{{number_id}}"] = ReceiveNumberWebhook(
                source, keys.hashes, lambda: reference_data.caught_up, accepted, bytes_max
            )
            continue
        agreed = secrets_of(source, settings, os.environ)
        if agreed is None:
            log.warning("no webhooks of provider %s: %s is not set", name, source.signing_variable)
            continue
        receivers[name] = ReceiveWebhook(source, agreed, accepted, bytes_max, settings.edge_url)
    former = {before: receivers[now] for before, now in providers.FORMER_NAMES.items() if now in receivers}
    return receivers | former


@contextlib.asynccontextmanager
async def _running(
    publisher: Publisher,
    reference_data: ReferenceData,
    limiter: Limiter,
    admitted: Admitted,
    abuse: AbuseDetection,
    cache: CacheService,
    pages: QuizPages,
    start: Callable[[], Coroutine[Any, Any, None]],
    _app: Starlette,
) -> AsyncIterator[None]:
    IN_FLIGHT.set_function(lambda: publisher.in_flight)
    BREAKER_STATE.set_function(lambda: publisher.breaker.state.value)
    await publisher.start()
    reference_data.start()
    await limiter.start()
    cache.start()
    admitted.start()
    abuse.start()
    starting = asyncio.create_task(start())
    yield
    starting.cancel()
    admitted.close()
    await abuse.close()
    reference_data.stop()
    await publisher.close(STOP_REPORTS_S)
    await limiter.close()
    await cache.close()
    await pages.close()

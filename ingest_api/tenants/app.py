"""All routes of the tenant API's process: its operations, and what every process has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.routing import Route

from ingest_api.http import fallbacks
from ingest_api.http.endpoint import Endpoint
from ingest_api.http.problems import NOT_FOUND, rejection, shown
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.tenants.api.openapi import document
from ingest_api.tenants.api.problems import BY_SLUG, CATALOGUE
from ingest_api.tenants.api.serve import Parts, Serve
from ingest_api.tenants.resources.every import OPERATIONS

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
Problems = Callable[[], tuple[str, ...]]
NO_STORE = ((b"cache-control", b"no-store"),)


def build(parts: Parts, not_ready: Problems, lifespan: Lifespan | None = None) -> Starlette:
    """`not_ready` returns the reasons why requests cannot be answered now."""

    async def ready(_scope: Scope, _receive: Receive) -> Reply:
        problems = not_ready()
        return _json({"ready": not problems, "problems": problems}, 503 if problems else 200)

    async def live(_scope: Scope, _receive: Receive) -> Reply:
        return _json({"live": True})

    described = msgspec.json.encode(document(OPERATIONS))

    async def openapi(_scope: Scope, _receive: Receive) -> Reply:
        return Reply(200, described)

    async def metrics(_scope: Scope, _receive: Receive) -> Reply:
        return Reply(200, generate_latest(), CONTENT_TYPE_LATEST.encode())

    everything = Starlette(
        routes=[
            *(
                Route(one.path, Endpoint(one.name, Serve(one, parts)), methods=[one.method])
                for one in OPERATIONS
            ),
            Route("/health", Endpoint("health", ready), methods=["GET"]),
            Route("/health/live", Endpoint("health", live), methods=["GET"]),
            Route("/health/ready", Endpoint("health", ready), methods=["GET"]),
            Route("/metrics", Endpoint("metrics", metrics), methods=["GET"]),
            Route("/openapi.json", Endpoint("openapi", openapi), methods=["GET"]),
            Route("/problems", Endpoint("problems", _problems), methods=["GET"]),
            Route("/problems/{slug}", Endpoint("problems", _problem), methods=["GET"]),
        ],
        exception_handlers=fallbacks.handlers(lambda _scope, reply: reply),
        lifespan=lifespan,
    )
    everything.router.redirect_slashes = False
    return everything


async def _problems(_scope: Scope, _receive: Receive) -> Reply:
    return _json([msgspec.structs.asdict(kind) | {"type": kind.type} for kind in CATALOGUE])


async def _problem(scope: Scope, _receive: Receive) -> Reply:
    kind = BY_SLUG.get(scope["path_params"]["slug"])
    if kind is None:
        raise rejection(NOT_FOUND, f'there is no problem "{shown(scope["path_params"]["slug"])}"')
    return _json(msgspec.structs.asdict(kind) | {"type": kind.type})


def _json(content: Any, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(content), headers=NO_STORE)

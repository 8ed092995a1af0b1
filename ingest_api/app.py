"""All routes of the edge, on one screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from ingest_api.health import Health
from ingest_api.http import fallbacks
from ingest_api.http.cors import ANY_ORIGIN
from ingest_api.http.endpoint import ByMethod, Endpoint, Handler
from ingest_api.http.fast_path import FastPath
from ingest_api.http.lifecycle import Lifecycle
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.openapi.document import Description
from ingest_api.openapi.schema_registry import Registry
from ingest_api.ping.ping import Ping
from ingest_api.quiz_pages.assets import PATH as ASSETS
from ingest_api.quiz_pages.browser_client import PATHS as CLIENTS
from ingest_api.quiz_pages.wiring import QuizPageHandlers

PAGE = "/quiz/{quiz_id}"
COMPLETIONS = "/quiz/{quiz_id}/completions"
PROGRESS = "/quiz/{quiz_id}/progress"

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Parts:
    completions: Handler
    progress: Handler
    page: Callable[[Handler], Handler]  # limits the handler of a public page
    webhooks: Mapping[str, Handler]  # by the rest of the route: a name that a provider has or had, its number
    registry: Registry
    health: Health
    ping: Ping
    quiz_pages: QuizPageHandlers
    description: Description
    lifecycle: Lifecycle


def build(parts: Parts, lifespan: Lifespan | None = None) -> ASGIApp:
    completions = Endpoint("completions", parts.completions, headers=ANY_ORIGIN)
    registry, health, description, page = parts.registry, parts.health, parts.description, parts.page
    pages = parts.quiz_pages
    submit, read, both = ["POST", "OPTIONS"], ["GET"], ["GET", "POST"]
    seen = ["GET", "HEAD", "OPTIONS"]
    everything = Starlette(
        routes=[
            Route(COMPLETIONS, completions, methods=submit),
            Route("/api/quiz/{quiz_id}/submit", completions, methods=submit),  # the old pages' address
            Route(PROGRESS, Endpoint("progress", parts.progress, headers=ANY_ORIGIN), methods=submit),
            *(
                Route(f"/webhooks/{name}", Endpoint("webhooks", receive), methods=both)
                for name, receive in parts.webhooks.items()
            ),
            Route("/schemas/types", Endpoint("schemas", registry.types), methods=read),
            Route("/schemas/ids/{id}", Endpoint("schemas", registry.schema), methods=read),
            Route("/subjects", Endpoint("subjects", registry.subjects), methods=read),
            Route("/subjects/{subject}/versions", Endpoint("subjects", registry.versions), methods=read),
            Route(
                "/subjects/{subject}/versions/{version}", Endpoint("subjects", registry.version), methods=read
            ),
            Route(
                PAGE,
                ByMethod(
                    post=Endpoint("quiz_form", pages.form, headers=ANY_ORIGIN),
                    others=Endpoint("quiz_page", pages.page, headers=ANY_ORIGIN),
                ),
                methods=[*seen, "POST"],
            ),
            Route(f"{PAGE}/thanks", Endpoint("quiz_thanks", pages.thanks), methods=read),
            Route(ASSETS + "{name}", Endpoint("quiz_asset", pages.asset, headers=ANY_ORIGIN), methods=read),
            *(
                Route(path, Endpoint("quiz_asset", pages.client, headers=ANY_ORIGIN), methods=read)
                for path in CLIENTS
            ),
            Route("/ping", Endpoint("ping", parts.ping.ping, headers=ANY_ORIGIN), methods=submit),
            Route("/health", Endpoint("health", health.health), methods=read),
            Route("/health/live", Endpoint("health", health.live), methods=read),
            Route("/health/ready", Endpoint("health", health.ready), methods=read),
            Route("/metrics", Endpoint("metrics", metrics), methods=read),
            Route("/openapi.json", Endpoint("openapi", page(description.openapi)), methods=read),
            Route("/problems", Endpoint("problems", page(description.problems)), methods=read),
            Route("/problems/{slug}", Endpoint("problems", page(description.problem)), methods=read),
        ],
        exception_handlers=fallbacks.handlers(pages.not_routed),
        lifespan=lifespan,
    )
    everything.router.redirect_slashes = False  # a redirect would name the scheme and host of the client
    return FastPath(COMPLETIONS, submit, completions, everything, parts.lifecycle)


async def metrics(_scope: Scope, _receive: Receive) -> Reply:
    return Reply(200, generate_latest(), CONTENT_TYPE_LATEST.encode())

"""The one address that nearly every request is for, past what Starlette puts around a route.

Its middlewares and its router look at every request and wrap every part of every answer, which took a sixth
of the edge's CPU; an `Endpoint` turns whatever goes wrong into an answer by itself and needs none of it.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send


class Straight:
    """Requests of `methods` for `path` (Starlette's notation) go to `endpoint`, the rest to `everything`."""

    def __init__(self, path: str, methods: Collection[str], endpoint: ASGIApp, everything: ASGIApp) -> None:
        self._match = compile_path(path)[0].match
        self._methods = frozenset(methods)
        self._endpoint = endpoint
        self._everything = everything

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in self._methods:
            found = self._match(scope["path"])
            if found is not None:
                scope["path_params"] = found.groupdict()
                await self._endpoint(scope, receive, send)
                return
        await self._everything(scope, receive, send)

"""The fast path: requests for the busiest route bypass Starlette's router and middleware.

Router and middleware took a sixth of the edge's CPU. An `Endpoint` turns every error into an answer itself
and does not need them.

An address with a slash at its end is the same as without, here and everywhere. While the edge starts,
requests wait here, except those that observe it.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_api.http.lifecycle import Lifecycle

OBSERVED = ("/health", "/metrics")


class FastPath:
    """Routes `methods` of `path` (in Starlette's notation) to `endpoint`, other requests to `everything`."""

    def __init__(
        self,
        path: str,
        methods: Collection[str],
        endpoint: ASGIApp,
        everything: ASGIApp,
        lifecycle: Lifecycle,
    ) -> None:
        self._match = compile_path(path)[0].match
        self._methods = frozenset(methods)
        self._endpoint = endpoint
        self._everything = everything
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path[-1:] == "/" and len(path) > 1:
                scope["path"] = path = path[:-1]
            if self._lifecycle.pending and not path.startswith(OBSERVED):
                await self._lifecycle.started()
            if scope["method"] in self._methods:
                found = self._match(path)
                if found is not None:
                    scope["path_params"] = found.groupdict()
                    await self._endpoint(scope, receive, send)
                    return
        await self._everything(scope, receive, send)

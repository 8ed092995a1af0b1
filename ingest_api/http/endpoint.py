"""The ASGI application around every handler: it sends one answer for every result, and measures it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter

from ingest_api.http.body import ClientGone
from ingest_api.http.metrics import count
from ingest_api.http.problems import INTERNAL, Problem, Rejection
from ingest_api.http.reply import Headers, Receive, Reply, Scope, Send, send_reply

log = logging.getLogger(__name__)

Handler = Callable[[Scope, Receive], Awaitable[Reply]]


class Endpoint:
    """`route` labels the metrics; `headers` are added to every answer, rejections included."""

    def __init__(self, route: str, handle: Handler, headers: Headers = ()) -> None:
        self._route = route
        self._handle = handle
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        try:
            reply = await self._handle(scope, receive)
        except Rejection as rejected:
            reply = rejected.problem.reply()
        except ClientGone:
            return
        except Exception:
            log.exception("%s failed", self._route)
            reply = INTERNAL_ERROR
        await send_reply(send, reply, self._headers)
        count(self._route, reply.status, reply.problem, perf_counter() - started)


class ByMethod:
    """Endpoints of one path, so that a 405 names the methods of all of them."""

    def __init__(self, post: Endpoint, others: Endpoint) -> None:
        self._post = post
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._post if scope["method"] == "POST" else self._others
        await endpoint(scope, receive, send)


INTERNAL_ERROR = Problem(INTERNAL, "the request failed; send it again with the same key").reply()

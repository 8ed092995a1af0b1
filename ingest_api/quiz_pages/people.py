"""A handler around a handler: shows problems as a page to a person, and adds the security headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from ingest_api.http.problems import Rejection
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.quiz_pages import headers
from ingest_api.quiz_pages.negotiation import header, wants_json
from ingest_api.quiz_pages.render import HTML, Renderer
from ingest_api.quiz_pages.texts import language_of
from pipeline.topology.file import Pages

Handler = Callable[[Scope, Receive], Awaitable[Reply]]

WITHOUT_WAY_BACK = ("unknown-quiz", "page-unavailable", "rate-limited")


class ForPeople:
    def __init__(self, handle: Handler, renderer: Renderer, pages: Pages) -> None:
        self._handle = handle
        self._renderer = renderer
        self._security = headers.security(pages.frame_ancestors)

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        try:
            reply = await self._handle(scope, receive)
        except Rejection as rejected:
            reply = rejected.problem.reply()
        more = self._security
        if reply.problem:
            if all(name != b"cache-control" for name, _ in reply.headers):
                more = (*more, *headers.NO_STORE)
            more = (*more, *headers.VARY_LANGUAGE)
            quiz_id = scope["path_params"]["quiz_id"]
            if not quiz_id.endswith(".json") and not wants_json(header(scope, b"accept")):
                language = language_of(header(scope, b"accept-language").decode("latin-1"))
                back = None if reply.problem in WITHOUT_WAY_BACK else f"/quiz/{quiz_id}"
                reply = replace(reply, body=self._renderer.notice(reply, language, back), media_type=HTML)
        return replace(reply, headers=(*reply.headers, *more))

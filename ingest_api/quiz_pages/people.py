"""Shows problems as a page to a person, and adds the security headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from ingest_api.http.problems import Rejection
from ingest_api.http.reply import Headers, Receive, Reply, Scope
from ingest_api.quiz_pages import headers
from ingest_api.quiz_pages.negotiation import header, wants_html, wants_json
from ingest_api.quiz_pages.render import HTML, Renderer
from ingest_api.quiz_pages.texts import language_of
from pipeline.topology.file import Pages

Handler = Callable[[Scope, Receive], Awaitable[Reply]]

WITHOUT_WAY_BACK = ("unknown-quiz", "page-unavailable", "rate-limited", "blocked")


class ForPeople:
    """A handler around the handler of a page."""

    def __init__(self, handle: Handler, renderer: Renderer, pages: Pages) -> None:
        self._handle = handle
        self._renderer = renderer
        self._security = headers.security(pages.frame_ancestors)

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        try:
            reply = await self._handle(scope, receive)
        except Rejection as rejected:
            reply = rejected.problem.reply()
        if not reply.problem:
            return replace(reply, headers=(*reply.headers, *self._security))
        quiz_id = scope["path_params"]["quiz_id"]
        as_page = not quiz_id.endswith(".json") and not wants_json(header(scope, b"accept"))
        back = None if reply.problem in WITHOUT_WAY_BACK else f"/quiz/{quiz_id}"
        return _problem(scope, reply, self._renderer, self._security, as_page, back)


class NotRouted:
    """The answer to a request for an address without a route: a page only to a browser, which names HTML."""

    def __init__(self, renderer: Renderer, pages: Pages) -> None:
        self._renderer = renderer
        self._security = headers.security(pages.frame_ancestors)

    def __call__(self, scope: Scope, reply: Reply) -> Reply:
        as_page = wants_html(header(scope, b"accept"))
        return _problem(scope, reply, self._renderer, self._security, as_page, None)


def _problem(
    scope: Scope, reply: Reply, renderer: Renderer, security: Headers, as_page: bool, back: str | None
) -> Reply:
    more = security
    if all(name != b"cache-control" for name, _ in reply.headers):
        more = (*more, *headers.NO_STORE)
    if as_page:
        language = language_of(header(scope, b"accept-language").decode("latin-1"))
        reply = replace(reply, body=renderer.notice(reply, language, back), media_type=HTML)
    return replace(reply, headers=(*reply.headers, *more, *headers.VARY_LANGUAGE))

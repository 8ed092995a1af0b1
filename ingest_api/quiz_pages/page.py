"""Handler of `GET /quiz/{quiz_id}`, as HTML or JSON, and of the page of thanks."""

from __future__ import annotations

import logging
import re
from functools import partial

import msgspec

from ingest_api.http.problems import PAGE_UNAVAILABLE, UNKNOWN_QUIZ, Rejection, rejection, shown
from ingest_api.http.reply import JSON, Headers, Receive, Reply, Scope
from ingest_api.quiz_pages import headers
from ingest_api.quiz_pages.negotiation import accepts_gzip, header, is_unchanged, wants_json
from ingest_api.quiz_pages.render import HTML, Document, Rendered, Renderer
from ingest_api.quiz_pages.source import QuizSource
from ingest_api.reference.loader import ReferenceData
from ingest_api.reference.quizzes import Quizzes
from pipeline.cache.cache import Form, Namespace, NoCopy, Unusable
from pipeline.topology.file import Pages

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10.0
QUIZ_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
JSON_SUFFIX = ".json"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Rendered).decode
FORM: Form[Rendered] = Form(_encode, _decode, lambda rendered: rendered.size_bytes)

PREFLIGHT = Reply(
    204,
    b"",
    headers=(
        (b"access-control-allow-methods", b"GET, HEAD, POST"),
        (
            b"access-control-allow-headers",
            b"accept, content-type, if-none-match, traceparent, tracestate, baggage, sentry-trace, *",
        ),
        (b"access-control-max-age", b"86400"),
    ),
)


class ShowQuiz:
    """Reads pages through the cache.

    The version of a quiz that this process has from its topic decides whether a copy is fresh: so a change is
    on the page as soon as its event is here, whichever level has which copy.
    """

    def __init__(
        self,
        cached: Namespace[Rendered],
        source: QuizSource,
        renderer: Renderer,
        quizzes: Quizzes,
        reference_data: ReferenceData,
        pages: Pages,
    ) -> None:
        self._cached = cached
        self._source = source
        self._renderer = renderer
        self._quizzes = quizzes
        self._reference_data = reference_data
        self._fresh_headers = headers.cacheable(pages)
        self._stale_headers = headers.stale(pages)

    async def page(self, scope: Scope, _receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return PREFLIGHT
        quiz_id = scope["path_params"]["quiz_id"]
        as_json = quiz_id.endswith(JSON_SUFFIX) or wants_json(header(scope, b"accept"))
        rendered, times = await self._rendered(quiz_id.removesuffix(JSON_SUFFIX))
        if as_json:
            return _reply(scope, rendered.json, JSON, times)
        return _reply(scope, rendered.html, HTML, times)

    async def thanks(self, scope: Scope, _receive: Receive) -> Reply:
        rendered, times = await self._rendered(scope["path_params"]["quiz_id"])
        return _reply(scope, rendered.thanks, HTML, times)

    async def _rendered(self, quiz_id: str) -> tuple[Rendered, Headers]:
        """Raises Rejection: unknown-quiz or page-unavailable."""
        known = self._quizzes.find(quiz_id)
        if not QUIZ_ID.fullmatch(quiz_id) or (known is None and self._reference_data.caught_up):
            raise _unknown(quiz_id)
        version_min = 0 if known is None else known.quiz.version

        def is_new_enough(rendered: Rendered | None) -> bool:
            return version_min == 0 if rendered is None else rendered.version >= version_min

        try:
            found = await self._cached.remember(quiz_id, partial(self._load, quiz_id), is_new_enough)
        except NoCopy as error:
            raise rejection(
                PAGE_UNAVAILABLE,
                f"it is in no cache, and {error}",
                retry_after_s=RETRY_AFTER_S,
                headers=headers.NO_STORE,
            ) from None
        if found.value is None:
            raise _unknown(quiz_id)
        return found.value, self._stale_headers if found.stale else self._fresh_headers

    async def _load(self, quiz_id: str) -> Rendered | None:
        stored = await self._source.read(quiz_id)
        try:
            return None if stored is None else self._renderer.render(stored)
        except Exception as error:
            log.exception("the page of quiz %s cannot be rendered", shown(quiz_id))
            raise Unusable("its page cannot be rendered") from error


def _unknown(quiz_id: str) -> Rejection:
    return rejection(UNKNOWN_QUIZ, f'there is no quiz "{shown(quiz_id)}"', headers=headers.ABSENT)


def _reply(scope: Scope, document: Document, media_type: bytes, times: Headers) -> Reply:
    packed = accepts_gzip(header(scope, b"accept-encoding"))
    body, etag = (document.packed, document.packed_etag) if packed else (document.body, document.etag)
    validators = ((b"etag", etag), *times, *headers.VARY)
    if_none_match = header(scope, b"if-none-match")
    if if_none_match and is_unchanged(if_none_match, etag):
        return Reply(304, b"", media_type, validators)
    return Reply(200, body, media_type, (*validators, *(headers.GZIP if packed else ())))

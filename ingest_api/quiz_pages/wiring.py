"""The parts of quiz pages, wired: their handlers, and what they keep open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingest_api.http.endpoint import Handler
from ingest_api.quiz_pages.assets import Assets
from ingest_api.quiz_pages.browser_client import BrowserClient
from ingest_api.quiz_pages.form import ReceiveForm
from ingest_api.quiz_pages.page import FORM, ShowQuiz
from ingest_api.quiz_pages.people import ForPeople, NotRouted
from ingest_api.quiz_pages.render import Renderer
from ingest_api.quiz_pages.source import QuizSource
from ingest_api.reference.loader import ReferenceData
from ingest_api.reference.quizzes import Quizzes
from pipeline.cache.cache import CacheService
from pipeline.topology.file import Edge

NAMESPACE = "quiz_pages"  # of the cache


@dataclass(frozen=True)
class QuizPageHandlers:
    page: Handler
    thanks: Handler
    form: Handler
    asset: Handler
    client: Handler
    not_routed: NotRouted


class QuizPages:
    def __init__(
        self,
        database_url: str,
        edge: Edge,
        cache: CacheService,
        quizzes: Quizzes,
        reference_data: ReferenceData,
    ) -> None:
        self._edge = edge
        self._assets = Assets()
        self._renderer = Renderer(self._assets, edge.answer_chars_max)
        self._source = QuizSource(
            database_url, edge.pages.database_connections_max, cache.limits.breaker.timeout_s
        )
        cached = cache.namespace(NAMESPACE, FORM, self._renderer.fingerprint)
        self._quiz = ShowQuiz(cached, self._source, self._renderer, quizzes, reference_data, edge.pages)

    def handlers(
        self,
        limited: Callable[[Handler], Handler],
        completions: Handler,
        guarded: Callable[[Handler], Handler],
    ) -> QuizPageHandlers:
        """`limited` puts rate limits around a page; `completions` accepts what a form holds.

        `guarded` rejects who is blocked before a form is read.
        """
        return QuizPageHandlers(
            page=self._shown(limited(self._quiz.page)),
            thanks=self._shown(limited(self._quiz.thanks)),
            form=self._shown(guarded(ReceiveForm(completions, self._edge))),
            asset=self._assets.file,
            client=BrowserClient().file,
            not_routed=NotRouted(self._renderer, self._edge.pages),
        )

    async def close(self) -> None:
        await self._source.close()

    def _shown(self, handle: Handler) -> Handler:
        return ForPeople(handle, self._renderer, self._edge.pages)

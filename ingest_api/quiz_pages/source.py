"""Reads a quiz from PostgreSQL, over few connections that are opened when a page is in no cache."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import msgspec
import psycopg

from ingest_api.quiz_pages.content import PublicQuestion, StoredQuiz
from pipeline.cache.cache import Unusable
from schemas.quiz_page import Language, QuizPage

READ_QUIZ = (Path(__file__).parent / "read_quiz.sql").read_text(encoding="utf-8")
APPLICATION_NAME = "quizstream quiz pages"

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class QuizSource:
    """At most `connections_max` reads at a time; others wait. Each is bounded by the caller's time-out."""

    def __init__(self, database_url: str, connections_max: int, timeout_s: float) -> None:
        self._database_url = database_url
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(connections_max)
        self._idle: list[Connection] = []

    async def read(self, quiz_id: str) -> StoredQuiz | None:
        """Return the quiz, or None if there is none. Raises psycopg.Error, or Unusable: it cannot be read."""
        async with self._places:
            while self._idle:
                try:
                    return await self._read(self._idle.pop(), quiz_id)
                except psycopg.OperationalError:
                    continue  # it may have been closed long ago; a new one shows whether PostgreSQL answers
            return await self._read(await self._connect(), quiz_id)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _read(self, connection: Connection, quiz_id: str) -> StoredQuiz | None:
        try:
            row = await (await connection.execute(READ_QUIZ, [quiz_id])).fetchone()
        except BaseException:
            await connection.close()
            raise
        self._idle.append(connection)
        if row is None:
            return None
        version, title, is_open, questions, page, language = row
        try:
            return StoredQuiz(
                quiz_id,
                cast(int, version),
                str(title),
                bool(is_open),
                msgspec.convert(questions, list[PublicQuestion]),
                QuizPage() if page is None else msgspec.convert(page, QuizPage),
                cast(Language, language),
            )
        except msgspec.ValidationError as error:  # such as a newer release's field
            raise Unusable("its page cannot be read") from error

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._database_url,
            autocommit=True,
            application_name=APPLICATION_NAME,
            connect_timeout=max(2, int(self._timeout_s)),
            options=f"-c statement_timeout={int(self._timeout_s * 1000)} -c default_transaction_read_only=on",
            prepare_threshold=None,  # also through a pooler
        )

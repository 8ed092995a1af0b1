"""The one line that an operator gets instead of a traceback."""

from __future__ import annotations

import http.client
import urllib.error

import psycopg
from confluent_kafka import KafkaError, KafkaException

from pipeline.errors import OperatorError

_REMEDY = "is everything up? `quizstream doctor` says what is not"
_OLD_SCHEMA = "run `quizstream up`, or `python -m sinks.postgres.schema.migrate`"
_RIGHTS = "check the rights of the role in DATABASE_URL"


def one_line(error: BaseException) -> str | None:
    """None for an error of the program itself, whose traceback is wanted.

    Besides `OperatorError` this maps what libraries raise for a server that fails or refuses.
    """
    if isinstance(error, OperatorError):
        return error.message
    if isinstance(error, KafkaException | KafkaError):
        return f"Kafka: {_first_line(_kafka_text(error))}: {_REMEDY}"
    if isinstance(error, psycopg.Error):
        return _postgres_line(error)
    if isinstance(error, urllib.error.URLError | http.client.HTTPException | ConnectionError | TimeoutError):
        return f"HTTP: {_first_line(str(error)) or type(error).__name__}: {_REMEDY}"
    return None


def _postgres_line(error: psycopg.Error) -> str | None:
    remedies: tuple[tuple[type[psycopg.Error], str], ...] = (
        (psycopg.errors.UndefinedTable, _OLD_SCHEMA),
        (psycopg.errors.UndefinedColumn, _OLD_SCHEMA),
        (psycopg.errors.UndefinedFunction, _OLD_SCHEMA),
        (psycopg.errors.InsufficientPrivilege, _RIGHTS),
        (psycopg.errors.ReadOnlySqlTransaction, "DATABASE_URL must name the primary server"),
        (psycopg.OperationalError, _REMEDY),
    )
    for kind, remedy in remedies:
        if isinstance(error, kind):
            return f"PostgreSQL: {_first_line(str(error))}: {remedy}"
    return None


def _kafka_text(error: KafkaException | KafkaError) -> str:
    """The text for people: an error of librdkafka is an object whose own text is for programs."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return str(inner.str()) if hasattr(inner, "str") else str(inner)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].rstrip(".:") if lines else ""

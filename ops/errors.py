"""What an operator is told instead of a traceback, for all that can go wrong outside of the program."""

from __future__ import annotations

import psycopg
from confluent_kafka import KafkaException

from ops.audit.collect import AcceptedFileRefused
from ops.audit.explain import BadId
from ops.dead_letters.letters import BadFilter
from ops.dead_letters.redrive import AlreadyRunning
from ops.demo.answer_table import HeaderRefused
from ops.demo.datasets import DatasetUnavailable
from ops.deployment.seed import SeedRefused
from ops.embedded.cannot_start import CannotStart
from ops.topics.command import ClusterError
from pipeline.topology.errors import TopologyError
from sinks.postgres.catalogue.refusals import Refusal
from sinks.postgres.dead_letter_producer import NotDelivered
from sinks.postgres.schema.migrate import CannotMigrate

# Their messages are already one line that says what to do.
_SAYS_IT_ALL = (
    AcceptedFileRefused,
    AlreadyRunning,
    BadFilter,
    BadId,
    CannotMigrate,
    CannotStart,
    ClusterError,
    DatasetUnavailable,
    HeaderRefused,
    NotDelivered,
    Refusal,
    SeedRefused,
    TopologyError,
)
_REMEDY = "is everything up? `quizstream doctor` says what is not"


def one_line(error: Exception) -> str | None:
    """None for an error of the program itself, whose traceback is wanted."""
    if isinstance(error, _SAYS_IT_ALL):
        return str(error)
    if isinstance(error, KafkaException):
        # What is raised by librdkafka is an object whose own text is for programs.
        said = error.args[0].str() if hasattr(error.args[0], "str") else str(error)
        return f"Kafka: {_first_line(said)}: {_REMEDY}"
    if isinstance(error, psycopg.errors.UndefinedTable):
        remedy = "run `quizstream up`, or `python -m sinks.postgres.schema.migrate`"
        return f"PostgreSQL: {_first_line(str(error))}: {remedy}"
    if isinstance(error, psycopg.OperationalError):
        return f"PostgreSQL: {_first_line(str(error))}: {_REMEDY}"
    return None


def _first_line(said: str) -> str:
    return said.strip().splitlines()[0].rstrip(".:")

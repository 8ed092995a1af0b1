"""Redrives dead letters: publishes their records again, to the partitions from which they came.

A step is published, acknowledged by all replicas, then marked in the table. After a crash between the two,
that step is published again, and stages and sinks treat it as a repeat. A marked letter is never published
again, so a new redrive continues where an interrupted one ended. Marks and the entry in the audit log are one
transaction for each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ops.dead_letters.letters import QUERIES, Group, Letter, Which, counted, histogram, steps
from ops.locate import Deployment
from pipeline.errors import OperatorError
from pipeline.runtime.redrive_headers import headers_of
from pipeline.runtime.topic_reader import RecordLookup
from pipeline.topology.model import Topology
from sinks.postgres import audit_log
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import DELIVERY_TIMEOUT_MS, NotDelivered, producer

Progress = Callable[[int, int], None]
"""Called after each step with the letters done and all there are to do."""


ACTION = "dead_letter.redrive"
_GONE = "its record is no longer in its topic"


class AlreadyRunning(OperatorError):
    """The message is one line."""


class Report(msgspec.Struct, frozen=True):
    """The result of a redrive.

    - `chosen`: letters that were selected at the start.
    - `records`: records that were published.
    - `redriven`: all letters about those records, chosen or not.
    - `quarantined`: letters whose record was redriven too often.
    - `left`: letters that stay open, counted by the reason.
    """

    chosen: int
    redriven: int
    records: int
    quarantined: int
    left: dict[str, int]


def plan(found: Deployment, which: Which) -> list[Group]:
    """Return the groups that a redrive would select. Raises BadFilter."""
    with connect(found.settings.database_url, "redrive") as connection:
        return histogram(connection, which.parameters(found.topology))


def redrive(
    found: Deployment,
    actor: str,
    which: Which,
    limit: int | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Report:
    """Return once every selected letter is published, quarantined or left.

    - `which.state` 'open' excludes quarantined letters, 'unsettled' includes them.
    - Letters that are written during the redrive are left for the next one.
    - Raises BadFilter, AlreadyRunning, NotDelivered and psycopg.Error.
    """
    settings = found.settings
    parameters = which.parameters(found.topology)
    sender = producer(settings.kafka_bootstrap_servers, "quizstream-redrive", found.topology.record_bytes_max)
    with (
        connect(settings.database_url, "redrive") as connection,
        RecordLookup(settings.kafka_bootstrap_servers, "quizstream-redrive") as source,
    ):
        if connection.execute(QUERIES["try_redrive_lock"]).fetchone() != (True,):
            raise AlreadyRunning("Another redrive is running in this database; wait until it ends.")
        chosen, began = counted(connection, parameters)
        chosen = chosen if limit is None else min(chosen, limit)
        insist = which.state != "open"
        detail = {
            "stage": which.stage,
            "topic": which.topic,
            "since": which.since,
            "until": which.until,
            "quarantined_too": insist,
        }

        def audit(**counts: int) -> None:
            # Without the searched reason: it may be a name.
            audit_log.record(connection, actor, ACTION, which.id or "several", **counts, **detail)

        run = _Run(connection, sender, source, found.topology, insist, audit)
        done = 0
        for letters in _steps(connection, parameters, began, found.topology, limit):
            run.step(letters)
            done += len(letters)
            progress(done, chosen)
    return Report(chosen, run.redriven, run.records, run.quarantined, run.left)


def _steps(
    connection: Connection, parameters: dict[str, Any], began: datetime, topology: Topology, limit: int | None
) -> Any:
    return steps(connection, parameters, began, topology.dead_letters.redrive_batch_max, limit)


class _Run:
    def __init__(
        self,
        connection: Connection,
        sender: Producer,
        source: RecordLookup,
        topology: Topology,
        insist: bool,
        audit: Callable[..., None],
    ) -> None:
        self._connection = connection
        self._producer = sender
        self._source = source
        self._topology = topology
        self._insist = insist
        self._audit = audit
        self._sent: set[tuple[str, int, int]] = set()
        self.redriven = 0
        self.records = 0
        self.quarantined = 0
        self.left: dict[str, int] = {}

    def step(self, letters: Sequence[Letter]) -> None:
        redrives_max = self._topology.dead_letters.redrives_max
        # `attempts` counts the first failure too.
        spent = [letter for letter in letters if not self._insist and letter.attempts > redrives_max]
        given_up = {letter.dead_letter_id for letter in spent}
        to_send = {
            letter.place: letter
            for letter in letters
            if letter.dead_letter_id not in given_up and letter.place not in self._sent
        }
        sent = self._send(list(to_send.values()))
        with self._connection.transaction():  # begun after the calls, which take longer than one may be idle
            if spent:
                ids = [letter.dead_letter_id for letter in spent]
                self._connection.execute(QUERIES["mark_quarantined"], {"ids": ids})
            redriven = self._mark([letter.place for letter in sent])
            if spent or redriven:
                self._audit(redriven=redriven, records=len(sent), quarantined=len(spent))
        self._sent.update(letter.place for letter in sent)
        self.redriven += redriven
        self.records += len(sent)
        self.quarantined += len(spent)

    def _send(self, letters: Sequence[Letter]) -> list[Letter]:
        """Publish a step; return the acknowledged letters. Raises NotDelivered if a later retry may help."""
        reports: list[tuple[Letter, KafkaError | None]] = []
        pending = 0
        for letter in letters:
            role = self._topology.role_of(letter.source_topic)
            if role is None:
                self._leave("its topic is not in this deployment")
                continue
            if self._topology.topic(role).changelog_of is not None:
                self._leave("it is a changelog's record, which `state repair` superseded")
                continue
            key, value = letter.key, letter.value
            if value is None:
                # A tombstone, a record too large for its letter, or an erased one: read it from its topic.
                original = self._source.record(*letter.place)
                if original is None:
                    self._leave(_GONE if letter.payload_erased_at is None else self._erased())
                    continue
                key, value = original.key, original.value

            def reported(error: KafkaError | None, _message: Message, letter: Letter = letter) -> None:
                reports.append((letter, error))

            headers = headers_of(letter.dead_letter_id, letter.attempts, letter.reason)
            try:
                self._producer.produce(
                    *(letter.source_topic, value, key, letter.source_partition),
                    on_delivery=reported,
                    headers=headers,  # type: ignore[arg-type]  # the stub knows str values only
                )
            except (KafkaException, BufferError) as error:
                raise NotDelivered(f"redrive: {error}") from error
            pending += 1
        deadline_s = time.monotonic() + DELIVERY_TIMEOUT_MS / 1000 + 1
        while len(reports) < pending and time.monotonic() < deadline_s:
            self._producer.poll(0.1)
        if len(reports) < pending:
            raise NotDelivered(
                "redrive: no acknowledgement in time; the next redrive publishes this step again"
            )
        return [letter for letter, error in reports if self._is_sent(error)]

    def _is_sent(self, error: KafkaError | None) -> bool:
        if error is None:
            return True
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._leave("with its headers it is too large for its topic")
            return False
        raise NotDelivered(f"redrive: {error.str()}")

    def _erased(self) -> str:
        hours = self._topology.dead_letters.payload_retention_h
        return f"its record was erased after {hours} h and is no longer in its topic; it cannot be redriven"

    def _leave(self, why: str) -> None:
        self.left[why] = self.left.get(why, 0) + 1

    def _mark(self, places: Sequence[tuple[str, int, int]]) -> int:
        """Mark all letters of these records, selected or not; return their number."""
        if not places:
            return 0
        topics, partitions, offsets = (list(column) for column in zip(*places, strict=True))
        return self._connection.execute(
            QUERIES["mark_redriven"], {"topics": topics, "partitions": partitions, "offsets": offsets}
        ).rowcount

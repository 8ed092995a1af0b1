"""Sends dead letters' records to where they came from, once more.

A step is produced, acknowledged by all replicas, then marked in its table. What breaks off in between sends
that one step again, which stages and sinks take as a repeat. A letter that is marked is never sent again, so
a redrive that was broken off goes on where it was.
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
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import DELIVERY_TIMEOUT_MS, NotDelivered, producer

Told = Callable[[int, int], None]
"""Called after each step with the letters done and all there are to do."""


class AlreadyRunning(OperatorError):
    """The message is one line."""


class Report(msgspec.Struct, frozen=True):
    """`chosen` letters were open at the start. `records` is what was sent, `redriven` counts all letters
    about those records, chosen or not; `quarantined` those whose record was redriven too often. The others
    are `left`: they stay open, by what is in the way.
    """

    chosen: int
    redriven: int
    records: int
    quarantined: int
    left: dict[str, int]


def plan(found: Deployment, which: Which) -> list[Group]:
    """What a redrive would choose. Raises BadFilter."""
    with connect(found.settings.database_url, "redrive") as connection:
        return histogram(connection, which.parameters(found.topology))


def redrive(
    found: Deployment, which: Which, limit: int | None = None, tell: Told = lambda _done, _all: None
) -> Report:
    """Returns once every chosen letter is sent, quarantined or left.

    `which.state` 'open' keeps away from quarantined letters, 'unsettled' sends them too. What fails during
    the redrive waits for the next one. Raises BadFilter, AlreadyRunning, NotDelivered and psycopg.Error.
    """
    settings = found.settings
    parameters = which.parameters(found.topology)
    sender = producer(settings.kafka_bootstrap_servers, "quizstream-redrive", found.topology.record_bytes_max)
    with (
        connect(settings.database_url, "redrive") as connection,
        RecordLookup(settings.kafka_bootstrap_servers, "quizstream-redrive") as source,
    ):
        if connection.execute(QUERIES["try_redrive_lock"]).fetchone() != (True,):
            raise AlreadyRunning("Another redrive is under way in this database.")
        chosen, began = counted(connection, parameters)
        chosen = chosen if limit is None else min(chosen, limit)
        insist = which.state != "open"
        run = _Run(connection, sender, source, found.topology, insist)
        done = 0
        for letters in _steps(connection, parameters, began, found.topology, limit):
            run.step(letters)
            done += len(letters)
            tell(done, chosen)
    return Report(chosen, run.redriven, run.records, run.quarantined, run.left)


def _steps(
    connection: Connection, parameters: dict[str, Any], began: datetime, topology: Topology, limit: int | None
) -> Any:
    return steps(connection, parameters, began, topology.dead_letters.redrive_batch_max, limit)


class _Run:
    def __init__(
        self, connection: Connection, sender: Producer, source: RecordLookup, topology: Topology, insist: bool
    ) -> None:
        self._connection = connection
        self._producer = sender
        self._source = source
        self._topology = topology
        self._insist = insist
        self._sent: set[tuple[str, int, int]] = set()
        self.redriven = 0
        self.records = 0
        self.quarantined = 0
        self.left: dict[str, int] = {}

    def step(self, letters: Sequence[Letter]) -> None:
        redrives_max = self._topology.dead_letters.redrives_max
        # A record was redriven once less often than it was given up.
        spent = [letter for letter in letters if not self._insist and letter.attempts > redrives_max]
        if spent:
            ids = [letter.dead_letter_id for letter in spent]
            self._connection.execute(QUERIES["mark_quarantined"], {"ids": ids})
            self.quarantined += len(spent)
        given_up = {letter.dead_letter_id for letter in spent}
        to_send = {
            letter.place: letter
            for letter in letters
            if letter.dead_letter_id not in given_up and letter.place not in self._sent
        }
        sent = self._send(list(to_send.values()))
        self.redriven += self._mark([letter.place for letter in sent])
        self._sent.update(letter.place for letter in sent)
        self.records += len(sent)

    def _send(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those that are in the log again. Raises NotDelivered where waiting may help."""
        reports: list[tuple[Letter, KafkaError | None]] = []
        pending = 0
        for letter in letters:
            if self._topology.role_of(letter.source_topic) is None:
                self._leave("its topic is not of this deployment")
                continue
            value = letter.value
            if value is None:
                # A tombstone, or a record too large to be kept in a letter: only its topic can tell.
                original = self._source.record(*letter.place)
                if original is None:
                    self._leave("its record is no longer in its topic")
                    continue
                value = original.value

            def reported(error: KafkaError | None, _message: Message, letter: Letter = letter) -> None:
                reports.append((letter, error))

            headers = headers_of(letter.dead_letter_id, letter.attempts, letter.reason)
            try:
                self._producer.produce(
                    *(letter.source_topic, value, letter.key, letter.source_partition),
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
            raise NotDelivered("redrive: no answer in time; nothing of this step is marked")
        return [letter for letter, error in reports if self._is_sent(error)]

    def _is_sent(self, error: KafkaError | None) -> bool:
        if error is None:
            return True
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._leave("with its headers it is too large for its topic")
            return False
        raise NotDelivered(f"redrive: {error.str()}")

    def _leave(self, why: str) -> None:
        self.left[why] = self.left.get(why, 0) + 1

    def _mark(self, places: Sequence[tuple[str, int, int]]) -> int:
        """Returns how many letters these records have, whether they were chosen or not."""
        if not places:
            return 0
        topics, partitions, offsets = (list(column) for column in zip(*places, strict=True))
        return self._connection.execute(
            QUERIES["mark_redriven"], {"topics": topics, "partitions": partitions, "offsets": offsets}
        ).rowcount

"""What dead letters excuse: a record that nobody finished, until a redriven copy of it is passed.

A letter whose record was redriven, and whose copy was passed by the reader that had given it up, excuses
nothing any more: the copy must show in what that reader writes, or in a letter of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from ops.audit import ledger_audit as marks
from ops.audit.ledger_audit import Books
from pipeline.runtime.record import Record
from pipeline.topology.model import Topology
from schemas.codec import Undecodable, codec

SINK_STAGES = "sink:"  # what the stage of a letter begins with where a sink gave its record up

Place = tuple[str, int, int]


class _Letter(NamedTuple):
    place: Place
    by_sink: bool
    value: bytes | None


class DeadEvidence:
    """Tell of all letters and copies, in any order, then `enter`."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._letters: dict[str, _Letter] = {}
        self._copies: list[tuple[str, bool, bool]] = []

    def letter(self, dead_letter_id: str, place: Place, stage: str, value: bytes | None) -> None:
        """`place`: topic, partition and offset of its record. The same letter may be told of again."""
        self._letters[dead_letter_id] = _Letter(place, stage.startswith(SINK_STAGES), value)

    def record(self, record: Record, by_stage: bool, by_sink: bool) -> None:
        """A record of a topic, passed by its stage or its sink or by neither; only redriven ones count."""
        if record.redriven is not None:
            self._copies.append((record.redriven.dead_letter_id, by_stage, by_sink))

    def enter(self, books: Books) -> None:
        passed: set[tuple[Place, bool]] = set()
        for dead_letter_id, by_stage, by_sink in self._copies:
            original = self._letters.get(dead_letter_id)
            if original is not None:
                passed |= {(original.place, sink) for sink in (False, True) if (by_stage, by_sink)[sink]}
        for letter in self._letters.values():
            self._enter(books, letter, excuses=(letter.place, letter.by_sink) not in passed)

    def _enter(self, books: Books, letter: _Letter, excuses: bool) -> None:
        topic_name, partition, offset = letter.place
        role = self._topology.role_of(topic_name)
        if role == self._topology.agent("qualify").source.role and not letter.by_sink:
            books.dead_position(partition, offset)
        if not excuses:
            return
        value = letter.value or b""
        with suppress(Undecodable, ValueError):
            if role == self._topology.agent("qualify").source.role:
                completion = codec("completion").decode(value)
                mark = marks.DEAD_ROW if letter.by_sink else marks.DEAD
                books.completion(UUID(completion.completion_id).bytes, mark)
            elif role in ("matches", "deliveries"):
                match = codec("match").decode(value)
                books.match(UUID(match.completion_id).bytes, match.campaign_id, marks.DEAD_MATCH)
            elif role == "duplicates":
                duplicate = codec("duplicate").decode(value)
                books.match(UUID(duplicate.completion_id).bytes, duplicate.campaign_id, marks.DEAD_MATCH)
            elif role == "outcomes":
                outcome = codec("outcome").decode(value)
                books.completion(UUID(outcome.completion_id).bytes, marks.DEAD)

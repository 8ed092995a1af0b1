"""The dead letters' part of the ledger audit: which records a dead letter accounts for.

A dead letter accounts for its record until a redriven copy was processed by the reader that had rejected it.
From then on the copy must have a result of that reader, or a dead letter of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from ops.audit import ledger_audit as flags
from ops.audit.ledger_audit import LedgerAudit
from pipeline.runtime.record import Record
from pipeline.topology.model import Topology
from schemas.codec import Undecodable, codec

SINK_STAGES = "sink:"  # prefix of `stage` in the dead letters of sinks

_MATCH_ROLES = ("matches", "deliveries", "duplicates")

Place = tuple[str, int, int]


class _Letter(NamedTuple):
    place: Place
    by_sink: bool
    value: bytes | None
    completion_id: str | None
    campaign_id: str | None


class DeadLetterAudit:
    """Add all letters and redriven copies, in any order, then call `enter`."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._letters: dict[str, _Letter] = {}
        self._copies: list[tuple[str, bool, bool]] = []

    def letter(
        self,
        dead_letter_id: str,
        place: Place,
        stage: str,
        value: bytes | None,
        completion_id: str | None = None,
        campaign_id: str | None = None,
    ) -> None:
        """Add a letter; again is harmless. `place`: topic, partition and offset of its record.

        The ids of the table's row count where the record was erased.
        """
        by_sink = stage.startswith(SINK_STAGES)
        self._letters[dead_letter_id] = _Letter(place, by_sink, value, completion_id, campaign_id)

    def record(self, record: Record, by_stage: bool, by_sink: bool) -> None:
        """Add a record of a topic, if it is a redriven copy, with the readers that have processed it."""
        if record.redriven is not None:
            self._copies.append((record.redriven.dead_letter_id, by_stage, by_sink))

    def enter(self, audit: LedgerAudit) -> None:
        passed: set[tuple[Place, bool]] = set()
        for dead_letter_id, by_stage, by_sink in self._copies:
            original = self._letters.get(dead_letter_id)
            if original is not None:
                passed |= {(original.place, sink) for sink in (False, True) if (by_stage, by_sink)[sink]}
        for letter in self._letters.values():
            self._enter(audit, letter, excuses=(letter.place, letter.by_sink) not in passed)

    def _enter(self, audit: LedgerAudit, letter: _Letter, excuses: bool) -> None:
        topic_name, partition, offset = letter.place
        role = self._topology.role_of(topic_name)
        if role == self._topology.agent("qualify").source.role and not letter.by_sink:
            audit.dead_position(partition, offset)
        if not excuses:
            return
        if role == "provider_webhooks":
            audit.dead_webhook(partition, offset)
            return
        with suppress(Undecodable, ValueError):
            completion_id, campaign_id = self._ids_of(letter, role)
            if completion_id is None:
                return
            if role == self._topology.agent("qualify").source.role:
                flag = flags.DEAD_ROW if letter.by_sink else flags.DEAD
                audit.completion(UUID(completion_id).bytes, flag)
            elif role in _MATCH_ROLES and campaign_id is not None:
                audit.match(UUID(completion_id).bytes, campaign_id, flags.DEAD_MATCH)
            elif role == "outcomes":
                audit.completion(UUID(completion_id).bytes, flags.DEAD)

    def _ids_of(self, letter: _Letter, role: str | None) -> tuple[str | None, str | None]:
        schema = None if role is None else self._topology.topic(role).schema
        if letter.value is None or schema is None:
            return letter.completion_id, letter.campaign_id
        event: Any = codec(schema).decode(letter.value)
        return getattr(event, "completion_id", None), getattr(event, "campaign_id", None)

"""Makes a delivery of the first match of (campaign, contact), and duplicates of the others.

The state of a key is the completion id of the first match; each duplicate names it. The same id read again is
the same delivery again: a crash between sending and writing state repeats the delivery and never chooses
another. The ledger is the authority.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages import metrics
from pipeline.stages.contract import Put, StageResult, StateReader
from schemas.codec import Undecodable, codec
from schemas.ids import match_key
from schemas.records import Duplicate, Match


class Wiring(msgspec.Struct, frozen=True):
    """The stage's settings from the topology: physical topic names and its table."""

    deliveries_topic: str
    duplicates_topic: str
    table: str


class Dedup:
    """The stage `dedup`."""

    name = "dedup"

    def __init__(self, wiring: Wiring) -> None:
        self.tables: tuple[str, ...] = (wiring.table,)
        self._wiring = wiring
        self._matches = codec("match")
        self._duplicates = codec("duplicate")

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        poison: list[Poison] = []
        decoded: list[tuple[Record, bytes, bytes, Match]] = []
        for record in records:
            try:
                match = self._matches.decode(record.value)
            except Undecodable as error:
                poison.append(Poison(record, error.reason, self.name))
                continue
            key = match_key(match.campaign_id, match.contact_id)
            if record.key != key or record.value is None:
                # Another key is in another partition, without the state of the first match.
                poison.append(Poison(record, "the key is not the match's campaign|contact", self.name))
            else:
                decoded.append((record, key, record.value, match))
        keys = [*dict.fromkeys(key for _, key, _, _ in decoded)]
        values = read(self._wiring.table, keys) if keys else []
        first = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        outputs: list[Output] = []
        puts: list[Put] = []
        passed = 0
        for _, key, value, match in decoded:
            completion_id = match.completion_id.encode()
            holder = first.get(key)
            if holder is None:
                first[key] = completion_id
                puts.append(Put(self._wiring.table, key, completion_id))
            if holder is None or holder == completion_id:
                # The same bytes: a delivery is its match.
                outputs.append(Output(self._wiring.deliveries_topic, key, value))
                passed += 1
            else:
                outputs.append(Output(self._wiring.duplicates_topic, key, self._duplicate(match, holder)))
        metrics.DELIVERIES.inc(passed)
        metrics.DUPLICATES.inc(len(outputs) - passed)
        return StageResult(outputs, puts, poison)

    def _duplicate(self, match: Match, first_completion_id: bytes) -> bytes:
        return self._duplicates.encode(
            Duplicate(
                tenant_id=match.tenant_id,
                campaign_id=match.campaign_id,
                contact_id=match.contact_id,
                completion_id=match.completion_id,
                first_completion_id=first_completion_id.decode(),
                day=match.day,
                accepted_at=match.accepted_at,
            )
        )

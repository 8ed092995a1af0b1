"""The store in Valkey, which all edge processes share: one script for each interval of a process."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ingest_api.abuse.store import (
    BASELINE_HALF_LIFE_S,
    BASELINE_KEPT_S,
    CHANGES_MAX,
    TALLY_HALF_LIVES,
    Exchanged,
    Position,
    Report,
)
from ingest_api.abuse.tally import Tally
from pipeline.abuse.states import Verdict
from pipeline.abuse.verdicts import Unavailable, Verdicts, decoded
from pipeline.topology.file import Abuse

EXCHANGE = Path(__file__).with_name("exchange.lua").read_text(encoding="utf-8")


class _Sums(msgspec.Struct, array_like=True):
    tallies: list[Tally]
    baselines: list[tuple[str, float, float]]
    changed: list[str]
    last: int
    epoch: str
    lost: bool


class ValkeyStore:
    def __init__(self, verdicts: Verdicts, limits: Abuse) -> None:
        self._verdicts = verdicts
        self._settings = (
            limits.half_life_s * 1000,
            limits.half_life_s * 1000 * TALLY_HALF_LIVES,
            limits.pressed_per_s,
            limits.flooded_per_s,
            limits.phones_window_s * 1000,
            BASELINE_HALF_LIFE_S * 1000,
            BASELINE_KEPT_S * 1000,
            CHANGES_MAX,
            limits.kept_s * 1000,
        )
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Sums).decode

    async def exchange(self, report: Report, since: Position, *now_ms: int) -> Exchanged:
        """Tests set the time."""
        baselines = [(quiz, *measured) for quiz, measured in report.baselines.items()]
        work = self._encode((self._settings, report.pushes, baselines, since.number, since.epoch))
        packed, *records = await self._verdicts.run(EXCHANGE, work, *now_ms)
        try:
            sums = self._decode(packed)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"its answer cannot be read: {error}") from error
        return Exchanged(
            sums.tallies,
            {quiz: (same, pairs) for quiz, same, pairs in sums.baselines},
            {
                subject: decoded(record) if record else None
                for subject, record in zip(sums.changed, records, strict=True)
            },
            Position(sums.last, sums.epoch),
            sums.lost,
        )

    async def find(self, subject: str) -> Verdict | None:
        return await self._verdicts.find(subject)

    async def put(self, verdict: Verdict, before: Verdict | None, now_ms: int) -> bool:
        return await self._verdicts.put(verdict, before, now_ms)

    async def close(self) -> None:
        await self._verdicts.close()

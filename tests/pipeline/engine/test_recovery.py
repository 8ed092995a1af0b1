"""The end of a changelog: where offsets have no records, and where records are on their way."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from pipeline.engine.consumer_thread import Progress
from pipeline.engine.recovery import StrictRecovery

CHANGELOG = TP("changelog", 0)
TAKEN, HIGHWATER = 27, 29


def recovery(progress: Progress) -> Any:
    """One that has taken the records up to TAKEN, with a consumer that has read so far."""

    class Consumer:
        async def progress(self, _tp: TP) -> Progress:
            return progress

    one = StrictRecovery.__new__(StrictRecovery)
    one.app = SimpleNamespace(consumer=Consumer())  # type: ignore[assignment]
    one.active_offsets = Counter({CHANGELOG: TAKEN})
    one.active_highwaters = Counter({CHANGELOG: HIGHWATER})
    return one


@pytest.mark.parametrize(
    ("progress", "taken"),
    [
        (Progress(28, None), TAKEN),  # to be fetched
        (Progress(30, 29), TAKEN),  # fetched, not taken: the table would lack them
        (Progress(30, 28), TAKEN),  # one on its way, and an offset without a record
        (Progress(30, 27), HIGHWATER),  # no record behind the last one
        (Progress(30, None), HIGHWATER),  # no record since the reading began
    ],
    ids=["to-fetch", "on-the-way", "one-on-the-way", "none-behind", "none"],
)
def test_only_offsets_without_records_are_passed_over(progress: Progress, taken: int) -> None:
    one = recovery(progress)
    asyncio.run(one._skip_to_positions())
    assert one.active_offsets[CHANGELOG] == taken

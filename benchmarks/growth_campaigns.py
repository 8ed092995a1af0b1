"""The judging stage with so many campaigns: encoded completions in, encoded verdicts and matches out."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from benchmarks.hot_path import TOPOLOGY
from benchmarks.match_campaigns import SHAPES, campaigns, completions
from pipeline.campaigns.registry import CampaignBook
from pipeline.runtime.record import Record
from pipeline.stages.qualify import Qualify, Wiring
from pipeline.topology.loader import load
from schemas.codec import codec

RECORDS = 2_000  # a round; a chunk holds at most as many


class Judging:
    """A stage that knows `count` campaigns, of which a completion matches about two, however many."""

    def __init__(self, shape: str, count: int, records: int = RECORDS) -> None:
        """`shape`: one of `match_campaigns.SHAPES`, how campaigns differ."""
        book = CampaignBook(lambda: 0)
        for campaign in campaigns(SHAPES[shape], count):
            book.apply(campaign)
        book.go_live()
        windows = load(TOPOLOGY).windows
        self._stage = Qualify(Wiring("outcomes", "matches", "state", windows), book.snapshot)
        self._records = _records(shape, count, records)

    def ready(self) -> Callable[[], int]:
        return self._judge

    def _judge(self) -> int:
        self._stage.process(self._records, lambda _table, keys: [None] * len(keys))
        return len(self._records)

    def matches_per_completion(self) -> float:
        """The work must be the same at each size, else a curve says nothing."""
        result = self._stage.process(self._records, lambda _table, keys: [None] * len(keys))
        matches = sum(output.topic == "matches" for output in result.outputs)
        return matches / len(self._records)


def _records(shape: str, count: int, wanted: int) -> list[Record]:
    encode = codec("completion").encode
    found = []
    for number, completion in enumerate(completions(SHAPES[shape], count, random.Random(count))):
        if number == wanted:
            break
        contact = f"{number:032x}"
        value = encode(msgspec.structs.replace(completion, contact_id=contact))
        found.append(Record("completions", 0, number, 0, contact.encode(), value))
    return found

"""Group commit: who comes while a write is under way goes with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sinks.delivery.group_commit import Grouped


def test_what_comes_during_a_write_is_written_together_and_everybody_gets_their_own_answers() -> None:
    batches: list[list[int]] = []

    async def run() -> list[Sequence[int]]:
        release = asyncio.Event()

        async def write(items: Sequence[int]) -> Sequence[int]:
            batches.append(list(items))
            await release.wait()
            return [item * 10 for item in items]

        grouped = Grouped(write, batch_max=4, writers=1)
        asks = [asyncio.create_task(grouped.submit(items)) for items in ([1], [2, 3], [4], [5, 6], [7])]
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(*asks)

    answers = asyncio.run(run())
    assert answers == [[10], [20, 30], [40], [50, 60], [70]]
    assert [item for batch in batches for item in batch] == [1, 2, 3, 4, 5, 6, 7]
    assert len(batches) < 5
    assert all(len(batch) <= 4 for batch in batches)


def test_a_failed_write_fails_its_own_batch_and_the_next_one_goes_on() -> None:
    async def run() -> None:
        async def write(items: Sequence[int]) -> Sequence[int]:
            if 1 in items:
                raise ConnectionError
            return items

        grouped = Grouped(write, batch_max=1, writers=1)
        bad, good = asyncio.create_task(grouped.submit([1])), asyncio.create_task(grouped.submit([2]))
        with pytest.raises(ConnectionError):
            await bad
        assert await good == [2]
        assert await grouped.submit([3]) == [3]

    asyncio.run(run())

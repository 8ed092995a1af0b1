"""A task whose cancellation gets lost ends all the same."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.runtime.ending import ended, within


async def deaf(times: int, heard: list[int]) -> str:
    """As a database client whose clean-up fails: its error takes the place of so many cancellations."""
    for number in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append(number)
    await asyncio.Event().wait()
    return "never"


def test_a_task_ends_although_its_cancellation_gets_lost() -> None:
    async def story() -> None:
        heard: list[int] = []
        one, other = asyncio.ensure_future(deaf(3, heard)), asyncio.ensure_future(deaf(0, heard))
        await asyncio.sleep(0)
        await ended([one, other], again_s=0.001)
        assert (one.cancelled(), other.cancelled(), heard) == (True, True, [0, 1, 2])

    asyncio.run(story())


def test_results_and_errors_stay_in_the_tasks() -> None:
    async def fails() -> None:
        raise ValueError("its own")

    async def story() -> None:
        good, bad = asyncio.ensure_future(asyncio.sleep(0, "result")), asyncio.ensure_future(fails())
        await asyncio.wait([good, bad])
        await ended([good, bad], again_s=0.001)
        assert good.result() == "result"
        assert isinstance(bad.exception(), ValueError)
        await ended([])

    asyncio.run(story())


def test_work_of_several_steps_ends_with_its_time_although_one_step_swallows_that() -> None:
    async def story() -> None:
        heard: list[int] = []
        with pytest.raises(TimeoutError):
            await within(0.001, deaf(1, heard))
        assert heard == [0]
        assert await within(60.0, asyncio.sleep(0, "result")) == "result"

    asyncio.run(story())

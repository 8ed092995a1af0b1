"""Group commit: the concurrent writes of many tasks become one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Grouped(Generic[In, Out]):
    """Collects items while a write is under way and writes them together next: no timer, no added wait.

    `write` returns one answer for each item, in order. What it raises is raised in every `submit` of
    its batch.
    """

    def __init__(
        self, write: Callable[[Sequence[In]], Awaitable[Sequence[Out]]], *, batch_max: int, writers: int
    ) -> None:
        self._write = write
        self._batch_max = batch_max
        self._writers_free = writers
        self._waiting: list[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, items: Sequence[In]) -> Sequence[Out]:
        """Returns the items' answers once they are durable; at most `batch_max` items."""
        answers: asyncio.Future[Sequence[Out]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, answers))
        if self._writers_free > 0:
            self._writers_free -= 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answers

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._write_batch(self._next_batch())
        finally:
            self._writers_free += 1

    def _next_batch(self) -> list[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]]:
        count, size = 1, len(self._waiting[0][0])
        while count < len(self._waiting) and size + len(self._waiting[count][0]) <= self._batch_max:
            size += len(self._waiting[count][0])
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch

    async def _write_batch(self, batch: list[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]]) -> None:
        try:
            written = await self._write([item for items, _ in batch for item in items])
        except Exception as error:
            for _, answers in batch:
                if not answers.done():
                    answers.set_exception(error)
            return
        except asyncio.CancelledError:
            for _, answers in batch:
                answers.cancel()
            raise
        position = 0
        for items, answers in batch:
            if not answers.done():
                answers.set_result(written[position : position + len(items)])
            position += len(items)

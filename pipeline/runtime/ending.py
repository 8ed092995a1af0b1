"""Tasks that end although a cancellation got lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

CANCEL_AGAIN_S = 1.0


async def ended(tasks: Iterable[asyncio.Future[Any]], again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancel the tasks until each has ended, again every `again_s`; their results and errors stay in them.

    One cancellation may not be enough. A client that is cancelled cleans up; when the clean-up fails, as on a
    broken connection, its error replaces the cancellation, and a loop that retries after errors goes on.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_s)


async def within(timeout_s: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; raises TimeoutError where it takes longer, once it has ended.

    `asyncio.timeout` cancels only once: when one step of the work catches that, the next steps still run.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=timeout_s)
    finally:
        await ended([task])
    if not done:
        raise TimeoutError
    return task.result()

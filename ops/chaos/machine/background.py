"""An event loop in its own thread, for work that continues while faults are injected."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
Params = ParamSpec("Params")


class Background:
    """Runs coroutines until `close`, which cancels the remaining ones."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run the coroutine and return its result."""
        return self.begin(work).result(timeout_s)

    def call(self, what: Callable[Params, None], *args: Params.args, **named: Params.kwargs) -> None:
        """Call the function on the loop, and return when it has returned."""

        async def called() -> None:
            what(*args, **named)

        self.do(called())

    def close(self) -> None:
        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.do(cancel_all(), timeout_s=10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

"""A sender that is told to stop ends, whatever its database does meanwhile."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock
from uuid import uuid4

import psycopg

from pipeline.topology.loader import load
from sinks.delivery.sender import Sender

LOOPS = 6  # those that ask the database at once


class Gone:
    """A database in the middle of its end: each call is cut off by the error of its connection.

    The error takes the place of a cancellation, which psycopg's clean-up allows: a named cursor is closed on
    a connection that is gone.
    """

    def __init__(self) -> None:
        self.all_begun = asyncio.Event()
        self._begun = 0

    def __getattr__(self, _name: str) -> Any:
        return self._call

    async def _call(self, *_given: object, **_named: object) -> None:
        self._begun += 1
        if self._begun == LOOPS:
            self.all_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise psycopg.OperationalError("the connection is lost") from None


def test_a_stop_ends_every_loop_although_the_database_swallows_cancellations() -> None:
    asyncio.run(_stopped_in_time())


async def _stopped_in_time() -> None:
    database, stop = Gone(), asyncio.Event()
    gone = cast(Any, database)
    sender = Sender(
        gone,
        gone,
        load(Path("topology.yaml"), "").sender,
        router=gone,
        token_of=lambda _name: None,
        clock=asyncio.get_running_loop().time,
        rng=random.Random(1),
        new_id=uuid4,
        metrics=MagicMock(),  # the real ones are registered once a process
    )
    running = asyncio.create_task(sender.run(stop))
    await asyncio.wait_for(database.all_begun.wait(), 120.0)
    stop.set()
    done, _ = await asyncio.wait([running], timeout=120.0)
    assert done, "the sender hangs in its stop"
    running.result()

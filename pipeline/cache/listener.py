"""Receives the invalidations that other processes publish, and finds out when it may have missed some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from pipeline.cache.metrics import LISTENING
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.ending import ended

log = logging.getLogger(__name__)

QUIET_S = 0.5  # after that a ping must be answered within as long, or the connection counts as lost


class Listener:
    """Calls `on_message` with each message, and `on_connected` after each new connection.

    Between two connections messages are lost, so that `on_connected` must assume that all copies are stale.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        channel: str,
        on_message: Callable[[bytes], None],
        on_connected: Callable[[], Awaitable[None]],
        backoff: Backoff,
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._on_message = on_message
        self._on_connected = on_connected
        self._backoff = backoff
        self._task: asyncio.Task[None] | None = None
        self.connected = False
        LISTENING.set_function(lambda: self.connected)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_listening())

    async def close(self) -> None:
        if self._task is not None:
            await ended([self._task])

    async def _keep_listening(self) -> None:
        while True:
            client = self._connect()
            try:
                await self._listen(client)
            except Exception as error:  # also an error in the client must not end the listening
                wait_s = self._backoff.after_failure_s()
                log.warning(
                    "cache: no invalidations are received (%s: %s); retrying in %.1f s",
                    type(error).__name__,
                    error,
                    wait_s,
                )
            finally:
                self.connected = False
                await client.aclose()
            await asyncio.sleep(wait_s)

    async def _listen(self, client: Any) -> None:
        """Return only by an exception."""
        await client.initialize()  # a cluster's client subscribes at the node of the channel's slot
        async with client.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            pinged = False
            while True:
                message = await subscription.get_message(timeout=QUIET_S)
                if message is None:
                    if pinged:
                        raise TimeoutError("a ping was not answered")
                    await subscription.ping()
                    pinged = True
                    continue
                pinged = False
                if message["type"] == "subscribe":
                    self._backoff.after_success()
                    await self._on_connected()
                    self.connected = True
                elif message["type"] == "message":
                    self._on_message(message["data"])

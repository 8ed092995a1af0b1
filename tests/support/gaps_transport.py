"""The obvious way to read chunks through Faust: one message a chunk, acks and gaps kept by Faust itself.

It loses records when partitions move, and is here so that the live-feed test is known to notice. A chunk is
a message with the offset of its last record; Faust takes the offsets before it for a gap in the log and fills
them in as soon as they are framed by acks, also by the ack of a chunk that was cut elsewhere before.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, cast

from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import ConsumerT

from pipeline.engine.app import StreamApp
from pipeline.engine.chunk import Chunk, cut
from pipeline.engine.offset_tracker import ChunkRef, Tracker

SCHEME = "gaps"


class Trusting(Tracker):
    """Believes that every chunk is still ours: what there is without a tracker."""

    def begin(self, ref: ChunkRef) -> bool:
        return True

    def is_current(self, ref: ChunkRef) -> bool:
        return True


class Consumer(driver.Consumer):
    """Faust's own, with chunks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = Trusting()

    def uncommitted_s(self) -> float:
        return 0.0

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109
        records, active = await self._wait_next_records(timeout)
        generation_id = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        limits = cast(StreamApp, self.app).chunk_limits
        waiting = {tp: cut(batch, limits) for tp, batch in records.items()}
        while waiting:
            for tp, pieces in list(waiting.items()):
                if not self.flow_active or self.app.consumer_generation_id != generation_id:
                    return
                piece = next(pieces, None)
                if piece is None:
                    del waiting[tp]
                elif active is None or tp in active or tp in self._buffered_partitions:
                    yield tp, self._chunk_message(tp, Chunk(ChunkRef(tp, 0, piece[0].offset, 0), piece))

    def _chunk_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            chunk.fetched[-1].offset,
            0.0,
            0,
            None,
            None,
            cast(bytes, chunk),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def highwater(self, tp: TP) -> int:
        return 0

    async def wait_empty(self) -> None:
        """Do not wait: Faust's default."""


class Transport(driver.Transport):
    """Faust's own, with that consumer."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer


def register() -> str:
    """Make the transport known to Faust; returns its scheme."""
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
    return SCHEME

"""Reads changelogs into tables; an error ends the process.

Faust's reader logs an exception and continues: the table then lacks entries, and gives wrong verdicts until
it is recovered again. Events of changelogs that are not being recovered any more are skipped; Faust would
apply them to the table of the event before.
"""

import asyncio
from time import monotonic
from typing import cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP, EventT
from mode import Service

from pipeline.engine.consumer_thread import BatchApp
from pipeline.engine.store import Unreadable, store_of
from pipeline.engine.transport import Consumer

QUIET_S = 1.0  # without events for so long, the consumer's position shows whether records remain


class RecoveryFailed(Exception):
    """A table could not be recovered to the end of its changelog."""


class UnreadableState(RecoveryFailed):
    """A changelog has records that cannot be read and that no later record of their key supersedes."""

    def __init__(self, records: list[Unreadable]) -> None:
        topic, partition, offset, why = records[0]
        others = f"; {len(records) - 1} more follow" if len(records) > 1 else ""
        super().__init__(
            f"changelog {topic} partition {partition} offset {offset} cannot be read ({why}){others}; "
            f"repair it: quizstream state repair --topic {topic} --partition {partition} --offset {offset}"
        )


class StrictRecovery(Recovery):
    """Faust's recovery with a reader of its own."""

    @Service.task
    async def _slurp_changelogs(self) -> None:
        while not self.should_stop:
            self.signal_recovery_end.clear()
            try:
                await self._take_event()
                self._end_when_up_to_date()
            except UnreadableState as exc:
                cast(BatchApp, self.app).stop_process(exc)
            except Exception as exc:
                cast(BatchApp, self.app).stop_process(RecoveryFailed(f"recovery of tables: {exc!r}"))
                raise

    async def _take_event(self) -> None:
        queue = self.tables.changelog_queue
        try:
            event: EventT[bytes] = await asyncio.wait_for(queue.get(), QUIET_S)
        except TimeoutError:
            if self.in_recovery:
                await self._skip_to_positions()
            return
        tp = event.message.tp
        if tp in self.active_tps:
            offsets, buffer_max = self.active_offsets, self.tp_to_table[tp].recovery_buffer_size
            self._active_events_received_at[tp] = monotonic()
        elif tp in self.standby_tps:
            offsets, buffer_max = self.standby_offsets, self.tp_to_table[tp].standby_buffer_size
            self._standby_events_received_at[tp] = monotonic()
        else:
            return
        seen = offsets.get(tp)
        if seen is None or event.message.offset > seen:
            table = self.tp_to_table[tp]
            offsets[tp] = event.message.offset
            buffer = self.buffers[table]
            buffer.append(event)
            if len(buffer) >= buffer_max:
                table.apply_changelog_batch(buffer)
                buffer.clear()
                self._last_flush_at = monotonic()

    async def _skip_to_positions(self) -> None:
        """Count offsets without a record at a changelog's end as read: emptied batches, markers.

        The position passes records when they are fetched, and they are taken later: until then the end is
        not reached, or they would be missing in the table.
        """
        for tp in self._behind():
            position, drained = await cast(Consumer, self.app.consumer).progress(tp)
            taken = drained is None or drained <= self.active_offsets[tp]
            if taken and position > self.active_highwaters[tp]:
                self.active_offsets[tp] = self.active_highwaters[tp]

    def _behind(self) -> list[TP]:
        return [tp for tp, remaining in self.active_remaining().items() if remaining > 0]

    def _end_when_up_to_date(self) -> None:
        if self.in_recovery and not self.need_recovery():
            self.flush_buffers()
            self._require_readable()
            self._set_recovery_ended()
            self.signal_recovery_end.set()
        if not self.tables.standbys_ready and not self.standby_remaining_total():
            self.tables.on_standbys_ready()

    def _require_readable(self) -> None:
        tables = self.tables.values()
        unreadable = [record for table in tables for record in store_of(table).unreadable()]
        if unreadable:
            raise UnreadableState(unreadable)


class StrictTableManager(TableManager):
    """Faust's table manager with `StrictRecovery`."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = StrictRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

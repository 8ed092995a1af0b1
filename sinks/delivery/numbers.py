"""Sender numbers: each is leased to one sender process at a time, under a fencing token that only grows.

The processes share the numbers equally (`shares.py`). Because a number has one user, its pace, its calls in
flight and its order are the state of one process. The lease is renewed well before it ends; a process that
cannot renew it stops using the number by its own clock, and the mark before each call checks it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection

from pipeline.runtime.crash_points import reach
from sinks.delivery.pacing.limiter import Pace
from sinks.delivery.pacing.shares import Candidate, Process, share_of
from sinks.delivery.statements import statement
from sinks.postgres.named_rows import named
from sinks.postgres.pool import Pool

Row = TypeVar("Row")

# Of renewing and sharing, within the lease of a number: a free number waits for one of them at most, and so
# late a process learns of a pause for which another is the reason.
ROUNDS_PER_LEASE = 10


@dataclass(frozen=True)
class Number:
    """A number that this process holds. `usable_until` is on the clock of the process, never of the
    database.
    """

    number_id: str
    tenant_id: str
    provider: str
    base_url: str
    credential: str  # name of the environment variable with the access token
    pace: Pace | None
    """None: the topology's."""
    fencing_token: int
    usable_until: float
    coexistence: bool = False  # the WhatsApp Business app uses it too
    paused_s: float = 0.0  # for so long from the lease on, a limit of the provider forbids calls
    rested_s: float = math.inf  # since its last lease ended, 0 while one runs: so long nobody called


class _LeasedNumber(NamedTuple):
    number_id: str
    tenant_id: str
    provider: str
    base_url: str
    credential: str
    messages_per_s: int | None
    messages_per_minute: int | None
    coexistence: bool
    fencing_token: int
    paused_s: float
    rested_s: float | None  # None: it was never leased

    @property
    def pace(self) -> Pace | None:
        if self.messages_per_minute is not None:
            return Pace.per_minute(self.messages_per_minute)
        return None if self.messages_per_s is None else Pace(self.messages_per_s)


@dataclass(frozen=True)
class Holding:
    """`numbers` are held, by id; those in `give_up` are more than this process's share."""

    numbers: dict[str, Number]
    give_up: frozenset[str]


class Numbers:
    """`owner` is new for every process, also after a restart: nobody inherits a lease."""

    def __init__(
        self,
        pool: Pool,
        *,
        owner: str,
        providers: Sequence[str],
        lease_s: float,
        has_credential: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._providers = list(providers)
        self.lease_s = lease_s
        self._has_credential = has_credential
        self._clock = clock
        self.without_credential: frozenset[str] = frozenset()  # names that this process has no secret for

    async def lease(self, leaving: Collection[str] = frozenset()) -> Holding:
        """Announces the process, renews its numbers and takes free ones, up to its share.

        `leaving` are given up already: their lease is kept until `release`, for the calls in flight.
        """
        asked_at = self._clock()
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(statement("list_credentials"), {"providers": self._providers})
            names = [name for (name,) in await cursor.fetchall()]
            usable = [name for name in names if self._has_credential(name)]
            mine = {"owner": self._owner, "lease_s": self.lease_s}
            await connection.execute(
                statement("announce_process"), {"providers": self._providers, "credentials": usable} | mine
            )
            processes = await _fetch(connection, "list_processes", Process)
            candidates = await _fetch(connection, "list_candidates", Candidate)
            share = share_of(self._owner, processes, candidates, leaving)
            wanted = [*share.keep, *share.take, *share.give_up, *leaving]
            rows = await _fetch(connection, "lease_numbers", _LeasedNumber, {"numbers": wanted} | mine)
        reach("sender.numbers_leased")
        self.without_credential = frozenset(names) - frozenset(usable)
        usable_until = asked_at + self.lease_s
        return Holding({row.number_id: _number(row, usable_until) for row in rows}, share.give_up)

    async def release(self, number_id: str) -> None:
        """Ends the lease of one number: another process may take it at once."""
        async with self._pool.connection() as connection:
            await connection.execute(
                statement("release_numbers"), {"owner": self._owner, "numbers": [number_id]}
            )

    async def leave(self) -> None:
        """Ends every lease, and the process's own part in sharing."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(statement("forget_process"), {"owner": self._owner})
            await connection.execute(statement("release_numbers"), {"owner": self._owner, "numbers": None})


async def _fetch(
    connection: AsyncConnection[Any], name: str, row_type: type[Row], parameters: dict[str, Any] | None = None
) -> list[Row]:
    async with connection.cursor(row_factory=named(row_type)) as cursor:
        return await (await cursor.execute(statement(name), parameters)).fetchall()


def _number(row: _LeasedNumber, usable_until: float) -> Number:
    return Number(
        number_id=row.number_id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        base_url=row.base_url,
        credential=row.credential,
        pace=row.pace,
        coexistence=row.coexistence,
        fencing_token=row.fencing_token,
        usable_until=usable_until,
        paused_s=row.paused_s,
        rested_s=math.inf if row.rested_s is None else row.rested_s,
    )

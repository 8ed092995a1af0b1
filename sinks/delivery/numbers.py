"""Sending numbers: each is leased to one sender process at a time, under a fencing token that only grows.

Because a number has one user, its pace, its calls in flight and its order are plain facts of one
process. The lease is renewed well before it ends; a process that could not renew stops using the number
by its own clock, and the mark before each call asks the database again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.runtime.crash_points import reach
from sinks.delivery.pool import Pool
from sinks.delivery.statements import statement


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
    messages_per_s: int | None
    fencing_token: int
    usable_until: float


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

    async def lease(self) -> dict[str, Number]:
        """Renews and takes; what is missing from the answer is not ours any more."""
        asked_at = self._clock()
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(statement("list_credentials"), {"providers": self._providers})
            names = [row[0] for row in await cursor.fetchall()]
            usable = [name for name in names if self._has_credential(name)]
            cursor = await connection.execute(
                statement("lease_numbers"),
                {
                    "providers": self._providers,
                    "credentials": usable,
                    "owner": self._owner,
                    "lease_s": self.lease_s,
                },
            )
            rows = await cursor.fetchall()
        reach("sender.numbers_leased")
        self.without_credential = frozenset(names) - frozenset(usable)
        usable_until = asked_at + self.lease_s
        return {
            number_id: Number(number_id, tenant, provider, url, credential, rate, fencing_token, usable_until)
            for number_id, tenant, provider, url, credential, rate, fencing_token in rows
        }

    async def release(self) -> None:
        """Gives every number back at once."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("release_numbers"), {"owner": self._owner})

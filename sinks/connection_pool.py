"""Idle connections of one sender number, kept for its next calls: the same for each protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    @property
    def usable(self) -> bool:
        """It may carry a call now: open, idle, and not idle for too long."""
        ...

    def close(self) -> None: ...


Kind = TypeVar("Kind", bound=Connection)


class ConnectionPool(ABC, Generic[Kind]):
    """The most recently used first."""

    def __init__(self, idle_max: int) -> None:
        self._idle_max = idle_max
        self._idle: list[Kind] = []

    @abstractmethod
    async def _open(self) -> Kind:
        """A new one; raises CannotConnect."""

    async def take(self) -> Kind:
        """An open connection; raises CannotConnect."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return await self._open()

    def give(self, connection: Kind) -> None:
        if connection.usable and len(self._idle) < self._idle_max:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

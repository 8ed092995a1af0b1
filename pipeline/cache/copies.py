"""The copies in the process, limited in number and size: the one used least recently leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.cache.metrics import BYTES, BYTES_MAX, ENTRIES, ENTRIES_MAX, EVICTED

OVERHEAD_BYTES = 400  # of a copy in CPython, besides its key and its value

Key = tuple[str, str]  # namespace, key


@dataclass(frozen=True, slots=True)
class Copy:
    """`value` None: it does not exist. Fresh before `fresh_until_s`, then stale until `stale_until_s`."""

    value: Any
    value_bytes: int
    fresh_until_s: float
    stale_until_s: float


class Copies:
    """All of it runs on one event loop."""

    def __init__(self, entries_max: int, bytes_max: int, clock: Callable[[], float]) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._clock = clock
        self._by_key: OrderedDict[Key, Copy] = OrderedDict()
        self.total_bytes = 0
        ENTRIES.set_function(lambda: len(self._by_key))
        BYTES.set_function(lambda: self.total_bytes)
        ENTRIES_MAX.set(entries_max)
        BYTES_MAX.set(bytes_max)

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: Key) -> Copy | None:
        """Return the copy, fresh or stale."""
        found = self._by_key.get(key)
        if found is None:
            return None
        if self._clock() >= found.stale_until_s:
            self._remove(key)
            return None
        self._by_key.move_to_end(key)
        return found

    def is_fresh(self, copy: Copy) -> bool:
        return self._clock() < copy.fresh_until_s

    def put(self, key: Key, copy: Copy) -> None:
        """Keep it. One that is larger than all copies together may be is not kept."""
        self._remove(key)
        size = _size(key, copy)
        if size > self._bytes_max:
            EVICTED.inc()
            return
        self._by_key[key] = copy
        self.total_bytes += size
        while len(self._by_key) > self._entries_max or self.total_bytes > self._bytes_max:
            self._remove(next(iter(self._by_key)))
            EVICTED.inc()

    def expire(self, key: Key) -> None:
        """Make the copy stale: it only serves while its source fails. One that says "absent" is removed."""
        found = self._by_key.get(key)
        if found is None:
            return
        if found.value is None:
            self._remove(key)
        else:
            self._by_key[key] = replace(found, fresh_until_s=float("-inf"))

    def expire_all(self, namespace: str | None = None) -> None:
        """`expire` every copy of a namespace, or of all."""
        for key in list(self._by_key):
            if namespace is None or key[0] == namespace:
                self.expire(key)

    def _remove(self, key: Key) -> None:
        found = self._by_key.pop(key, None)
        if found is not None:
            self.total_bytes -= _size(key, found)


def _size(key: Key, copy: Copy) -> int:
    return OVERHEAD_BYTES + len(key[1]) + copy.value_bytes

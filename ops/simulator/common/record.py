"""What really arrived: one line a send call, written before the answer, never changed. Outlives the
process.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ops.audit.provider_record import Call
from ops.simulator.common.numbers import CALLS_PAGE_MAX

INDEX_EVERY = 1_000  # calls between two known places of the file


class Record:
    """Appends to and reads from one file; reads it once at the start, so that sequences and counts go on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._bytes = 0
        self._index: list[int] = []  # where every INDEX_EVERY-th call begins
        self.calls = 0
        self.taken: Counter[str] = Counter()  # by number: the last sequence
        self.by_answer: Counter[str] = Counter()
        self._load()

    def append(self, call: Call) -> None:
        """Returns once the line is with the operating system: a killed process loses none."""
        line = msgspec.json.encode(call) + b"\n"
        os.write(self._file, line)
        self._count(call, len(line))

    def page(self, since: int, limit: int = CALLS_PAGE_MAX) -> Iterator[bytes]:
        """The lines of the calls from number `since` (from 0) on, without their ends."""
        since = max(since, 0)
        if since >= self.calls:
            return
        with self._path.open("rb") as file:
            file.seek(self._index[since // INDEX_EVERY])
            for _ in range(since % INDEX_EVERY):
                file.readline()
            for _ in range(min(limit, CALLS_PAGE_MAX, self.calls - since)):
                yield file.readline().rstrip(b"\n")

    def close(self) -> None:
        os.close(self._file)

    def _load(self) -> None:
        decoder = msgspec.json.Decoder(Call)
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    # Cut off by a machine's crash: its call was never answered.
                    os.truncate(self._path, self._bytes)
                    return
                self._count(decoder.decode(line), len(line))

    def _count(self, call: Call, size: int) -> None:
        if self.calls % INDEX_EVERY == 0:
            self._index.append(self._bytes)
        self._bytes += size
        self.calls += 1
        if call.wamid is not None:
            self.taken[call.number] += 1
        # A code that is a text may name a person; its status does not.
        code = call.code if isinstance(call.code, int) else None
        self.by_answer["none" if call.status is None else str(code or call.status)] += 1

"""The provider's record: the simulator's file of every call that it received, in order."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec

from pipeline.runtime.settings import Settings
from sinks.connection import Reply
from sinks.outcomes import Rejected
from sinks.providers import provider_named

REQUEST_TIMEOUT_S = 10.0


class Call(msgspec.Struct, frozen=True):
    """`at` is seconds since the epoch; `status` is the HTTP status of the answer, None where none is given.

    `wamid` is set where the message was taken: that, and only that, is a message on its way to a person.
    `code` is the provider's, where the answer is its error envelope.
    """

    at: float
    number: str
    to: str
    attempt_id: str | None = None
    wamid: str | None = None
    status: int | None = None
    code: int | str | None = None
    rule: str | None = None
    provider: str = "meta-cloud"


def certainly_not_sent(call: Call) -> bool:
    """Return whether the answer proves, by the rules of its provider, that no message was sent."""
    if call.wamid is not None:
        return False
    provider = provider_named(call.provider)
    if call.code is not None:
        return provider.action_of(str(call.code), call.status) is not None
    # Without an error envelope: by the HTTP status alone.
    return call.status is not None and isinstance(provider.outcome_of(Reply(call.status, b"")), Rejected)


def attempt_of(call: Call) -> bytes | None:
    """Return the 16 bytes of the attempt id; None if the call carried none."""
    try:
        return UUID(call.attempt_id or "").bytes
    except ValueError:
        return None


class NoRecord(Exception):
    """The provider has no record that can be read from here."""


class ProviderRecord:
    """Reads the record incrementally. Raises NoRecord if there is none."""

    def __init__(self, settings: Settings, base_url: str | None = None) -> None:
        """`base_url`: of a simulator elsewhere, read over HTTP. Else that of the deployment itself."""
        self._url = f"{(base_url or settings.simulator_url).rstrip('/')}/simulator/calls"
        self._file = None if base_url else settings.home / "simulator" / "calls.jsonl"
        self._read = 0  # bytes of the file, or calls over HTTP
        if not self._has_file() and not self._serves():
            raise NoRecord

    def more(self) -> Iterator[Call]:
        """Yield the calls since the last reading; an incomplete last line is left for the next one."""
        if self._file is not None and self._file.exists():
            yield from self._from_file(self._file)
        else:
            yield from self._from_http()

    def _from_file(self, path: Path) -> Iterator[Call]:
        decoder = msgspec.json.Decoder(Call)
        with path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield decoder.decode(line)

    def _from_http(self) -> Iterator[Call]:
        while True:
            url = f"{self._url}?since={self._read}"
            with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_S) as response:
                page = msgspec.json.decode(response.read(), type=list[Call])
            if not page:
                return
            self._read += len(page)
            yield from page

    def _has_file(self) -> bool:
        return self._file is not None and self._file.exists()

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}?limit=1", timeout=REQUEST_TIMEOUT_S):
                return True
        except OSError:
            return False

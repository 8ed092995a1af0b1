"""What really arrived at the provider: the simulator's own record of every call, in its order."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec

from ops.simulator.record import Call
from pipeline.runtime.settings import Settings
from sinks.whatsapp.meta_cloud.codes import Unclear, action_of

REQUEST_TIMEOUT_S = 10.0


def certainly_not_sent(call: Call) -> bool:
    """It was answered with a code that is listed as a refusal."""
    return call.wamid is None and call.code is not None and not isinstance(action_of(call.code), Unclear)


def attempt_of(call: Call) -> bytes | None:
    """16 bytes; None where the call carried no attempt of ours."""
    try:
        return UUID(call.attempt_id or "").bytes
    except ValueError:
        return None


class NoRecord(Exception):
    """The provider keeps no record that can be read here."""


class ProviderRecord:
    """Reads on from where the last reading ended. Raises NoRecord where there is none at all."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"{settings.simulator_url}/simulator/calls"
        self._file = settings.home / "simulator" / "calls.jsonl"
        self._read = 0  # bytes of the file, or calls over HTTP
        if not self._file.exists() and not self._serves():
            raise NoRecord

    def more(self) -> Iterator[Call]:
        """The calls that were written down since; a line that is still being written is left for later."""
        if self._file.exists():
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

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}?limit=1", timeout=REQUEST_TIMEOUT_S):
                return True
        except OSError:
            return False

"""Runs the generator as a process of its own, and reads what it found."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.generator import ANSWERS_TIMEOUT_S, UUID_CHARS, Load, Told
from benchmarks.scene import Scene
from ops.locate import Deployment

BEGIN_TIMEOUT_S = 60.0
END_MARGIN_S = 30.0


class LoadBroken(Exception):
    """The generator ended without a result. The message is one line."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of every request, by number; the one that was sent before all is the last."""

    told: Told
    answered_s: array[float]

    @property
    def unanswered(self) -> int:
        return sum(at < 0 for at in self.answered_s)

    def ids(self) -> Iterator[tuple[int, str]]:
        """Number and completion id of each that was accepted."""
        text = self.told.ids.decode()
        for number, at in enumerate(self.answered_s):
            if at >= 0:
                yield number, text[number * UUID_CHARS : (number + 1) * UUID_CHARS]

    def latencies_s(self, first: int, end: int) -> list[float]:
        """From when it was due to its 202, of each request from `first` before `end` that was accepted."""
        rate = self.told.rate_per_s
        return [
            self.answered_s[number] - number / rate
            for number in range(first, end)
            if self.answered_s[number] >= 0
        ]

    def answered_between(self, first: int, end: int, begin_s: float, end_s: float) -> int:
        """How many of these requests were accepted within seconds of the run."""
        return sum(begin_s <= self.answered_s[number] < end_s for number in range(first, end))


class Generation:
    """A generator that has begun to offer load. `begun_at`: seconds since the epoch."""

    def __init__(
        self, found: Deployment, scene: Scene, rate_per_s: float, requests: int, first_key: int = 0
    ) -> None:
        """Returns once the first request is due. `first_key`: keys and people before it are somebody else's.

        Raises LoadBroken.
        """
        address = urlsplit(found.settings.edge_url)
        self._folder = tempfile.TemporaryDirectory(prefix="quizstream-load-")
        self._out = Path(self._folder.name) / "told"
        self._load = Load(
            host=address.hostname or "127.0.0.1",
            port=address.port or 80,
            token=found.settings.service_token,
            quiz_id=scene.questionnaire.quiz_id,
            matching_percent=scene.matching_percent,
            first_key=first_key,
            rate_per_s=rate_per_s,
            requests=requests,
            out=str(self._out),
        )
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(msgspec.json.encode(self._load).decode())
        self._child.stdin.close()
        said = self._child.stdout.readline().split()
        if len(said) != 2 or said[0] != "begin":
            self.end()
        self.begun_at = float(said[1])

    @property
    def pid(self) -> int:
        return self._child.pid

    def end(self) -> Requests:
        """Returns once every request has its answer, or none will come. Raises LoadBroken."""
        try:
            duration_s = self._load.requests / self._load.rate_per_s
            try:
                self._child.wait(duration_s + ANSWERS_TIMEOUT_S + END_MARGIN_S)
            except subprocess.TimeoutExpired:
                self.abandon()
                raise LoadBroken("the generator did not end") from None
            if self._child.returncode != 0 or not self._out.exists():
                assert self._child.stderr is not None
                said = self._child.stderr.read().strip().splitlines()
                raise LoadBroken(f"the generator ended with {self._child.returncode}: {said[-1:]}")
            told = msgspec.msgpack.decode(self._out.read_bytes(), type=Told)
        finally:
            self._folder.cleanup()
        answered = array("d")
        answered.frombytes(told.answered_s)
        return Requests(told, answered)

    def abandon(self) -> None:
        """Ends it, whatever it does."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()


def sleep_until(at: float) -> None:
    """`at`: seconds since the epoch."""
    time.sleep(max(0.0, at - time.time()))

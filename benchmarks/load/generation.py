"""Runs the generator as a process of its own, and reads its result."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.load.generator import ANSWERS_TIMEOUT_S, UUID_CHARS, Constant, Load, LoadResult, Users
from benchmarks.load.scene import Scene
from ops.locate import Deployment
from pipeline.errors import OperatorError

END_MARGIN_S = 30.0


class LoadBroken(OperatorError):
    """The load could not be made."""


@dataclass(frozen=True, slots=True)
class Requests:
    """The outcome of every request, by number; number 0 is the one before the load."""

    result: LoadResult
    due_s: array[float]
    answered_s: array[float]

    @classmethod
    def of(cls, result: LoadResult) -> Requests:
        due, answered = array("d"), array("d")
        due.frombytes(result.due_s)
        answered.frombytes(result.answered_s)
        return cls(result, due, answered)

    @property
    def unanswered(self) -> int:
        return sum(at < 0 for at in self.answered_s)

    def ids(self) -> Iterator[tuple[int, str]]:
        """Number and completion id of each that was accepted."""
        text = self.result.ids.decode()
        for number, at in enumerate(self.answered_s):
            if at >= 0:
                yield number, text[number * UUID_CHARS : (number + 1) * UUID_CHARS]

    def accepted(self) -> Iterator[str]:
        return (completion_id for _, completion_id in self.ids())

    def due_at(self, number: int) -> float:
        """Seconds since the epoch."""
        return self.result.begun_at + self.due_s[number]

    def due_in(self, begin: float, end: float) -> list[int]:
        """Numbers of the requests that were due then; `begin` and `end` in seconds since the epoch."""
        return [number for number in range(1, len(self.due_s)) if begin <= self.due_at(number) < end]

    def latencies_s(self, begin: float, end: float) -> list[float]:
        """From when it was due to its 202, of each that was due then and accepted at any time."""
        answered, due = self.answered_s, self.due_s
        return [answered[each] - due[each] for each in self.due_in(begin, end) if answered[each] >= 0]

    def accepted_in(self, begin: float, end: float) -> int:
        """How many were answered with 202 then."""
        begun_at = self.result.begun_at
        return sum(at >= 0 and begin <= begun_at + at < end for at in self.answered_s[1:])


class Generation:
    """A generator that offers load; a context manager that ends it. `begun_at`: seconds since the epoch."""

    def __init__(
        self,
        found: Deployment,
        scene: Scene,
        pace: Constant | Users,
        first_key: int = 0,
        *,
        again: bool = True,
        anonymous: bool = False,
    ) -> None:
        """Returns once the first request is due. Keys and contacts before `first_key` are not used.

        `again`: whether what is answered 429 or 503 is sent again. `anonymous`: without the service token,
        each request from an address of its own. Raises LoadBroken.
        """
        address = urlsplit(found.settings.edge_url)
        self._folder = tempfile.TemporaryDirectory(prefix="quizstream-load-")
        self._out = Path(self._folder.name) / "result"
        self._seconds = pace.seconds
        load = Load(
            host=address.hostname or "127.0.0.1",
            port=address.port or 80,
            token="" if anonymous else found.settings.service_token,
            quiz_id=scene.questionnaire.quiz_id,
            matching_percent=scene.matching_percent,
            first_key=first_key,
            pace=pace,
            out=str(self._out),
            again=again,
        )
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(msgspec.json.encode(load).decode())
        self._child.stdin.close()
        line = self._child.stdout.readline().split()
        if len(line) != 2 or line[0] != "begin":
            self.end()
        self.begun_at = float(line[1])

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._child.pid

    def end(self) -> Requests:
        """Returns once every request has its answer, or the time for answers is over. Raises LoadBroken."""
        try:
            self._child.wait(self._seconds + ANSWERS_TIMEOUT_S + END_MARGIN_S)
        except subprocess.TimeoutExpired:
            self.__exit__()
            raise LoadBroken("the generator did not end") from None
        if self._child.returncode != 0 or not self._out.exists():
            assert self._child.stderr is not None
            lines = self._child.stderr.read().strip().splitlines()
            raise LoadBroken(f"the generator ended with {self._child.returncode}: {lines[-1:]}")
        return Requests.of(msgspec.msgpack.decode(self._out.read_bytes(), type=LoadResult))

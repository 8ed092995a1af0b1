"""One side's turn at the three stages, on topics of its own, held against what the stages should say."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
from confluent_kafka.admin import AdminClient

from benchmarks.parts import Wrong
from benchmarks.peers import install, verdicts
from benchmarks.stage_input import campaigns, completions, fill
from ops.topics.command import apply
from pipeline.runtime.settings import Settings
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.file import Windows
from pipeline.topology.loader import load
from schemas.codec import codec
from schemas.records import Duplicate, Match

PROCESS_TIMEOUT_S = 300.0
EXAMPLES_MAX = 3

Matched = TypeVar("Matched", Match, Duplicate)

_decode_outcome = codec("outcome").decode
_decode_duplicate = codec("duplicate").decode


class Measured(msgspec.Struct, frozen=True):
    """What a process wrote of itself, and what the broker used for these records."""

    records: int
    wall_s: float
    cpu_s: float
    broker_cpu_s: float = 0.0


class StageTurn:
    """One side on topics of its own: state would be read back, and nothing judged again."""

    def __init__(self, bootstrap: str, broker_pid: int, records: int) -> None:
        self._bootstrap = bootstrap
        self._broker = psutil.Process(broker_pid)
        self._records = records
        self._token = secrets.token_hex(4)
        self._file = Settings.from_env().topology_file
        self._topology = load(self._file, f"bench-{self._token}.")

    def take(self, command: Sequence[str]) -> dict[str, Measured]:
        """Raises Wrong."""
        apply(self._topology, self._bootstrap, 1)
        try:
            fill(self._bootstrap, self._topology.topic("completions").name, self._records)
            should = _expected(self._topology.windows, self._records)
            matches = len(should.deliveries) + len(should.duplicates)
            measured = {way: self._run(command, way, self._records) for way in ("empty", "qualify")}
            measured["dedup"] = self._run(command, "dedup", matches)
            self._check(should)
            return measured
        finally:
            self._delete()

    def _run(self, command: Sequence[str], way: str, records: int) -> Measured:
        with tempfile.TemporaryDirectory() as folder:
            out, log = Path(folder) / "measured", Path(folder) / "log"
            datadir = Path(folder) / "data"
            datadir.mkdir()
            arguments = [f"--bootstrap={self._bootstrap}", f"--group=bench-{self._token}-{way}"]
            arguments += [f"--namespace=bench-{self._token}.", f"--records={records}"]
            arguments += [f"--topology={self._file}", f"--datadir={datadir}", f"--out={out}"]
            before = _cpu_s(self._broker)
            try:
                with log.open("wb") as errors:
                    code = subprocess.run(
                        [*command, way, *arguments],
                        cwd=install.CHECKOUT,
                        env={**os.environ, "PYTHONPATH": str(install.CHECKOUT)},
                        stdin=subprocess.DEVNULL,
                        stdout=errors,
                        stderr=errors,
                        timeout=PROCESS_TIMEOUT_S,
                        check=False,
                    ).returncode
            except subprocess.TimeoutExpired:
                raise Wrong(f"{way} did not end in {PROCESS_TIMEOUT_S:.0f} s: {_last(log)}") from None
            if code or not out.exists():
                raise Wrong(f"{way} ended with {code}: {_last(log)}")
            measured = msgspec.json.decode(out.read_bytes(), type=Measured)
            used = _cpu_s(self._broker) - before
        return msgspec.structs.replace(measured, broker_cpu_s=used * measured.records / records)

    def _check(self, should: verdicts.Expected) -> None:
        """Verdicts and matches by id; of the matches, those pass that lie first in this side's own log."""
        outcomes, judged = 0, dict[str, str]()
        for value in self._values("outcomes"):
            outcome = _decode_outcome(value)
            judged[outcome.completion_id] = outcome.verdict
            outcomes += 1
        _same("verdicts", set(judged.items()), set(should.verdicts.items()))
        if outcomes != len(judged):
            raise Wrong(f"{outcomes:,} verdicts for {len(judged):,} completions")
        log = [verdicts.decode_match(value) for value in self._values("matches")]
        pairs = {(match.campaign_id, match.completion_id) for match in log}
        _same("matches", pairs, should.deliveries | should.duplicates)
        first: dict[bytes, str] = {}
        for match in log:
            first.setdefault(verdicts.key_of(match), match.completion_id)
        passing = {pair for match, pair in _pairs(log) if first[verdicts.key_of(match)] == pair[1]}
        passed = {pair for _, pair in _pairs(map(verdicts.decode_match, self._values("deliveries")))}
        refused = {pair for _, pair in _pairs(map(_decode_duplicate, self._values("duplicates")))}
        _same("deliveries", passed, passing)
        _same("duplicates", refused, pairs - passing)

    def _values(self, role: str) -> Iterator[bytes]:
        for record in TopicScan(self._bootstrap, self._topology.topic(role)).records():
            assert record.value is not None
            yield record.value

    def _delete(self) -> None:
        """The frameworks' own changelogs, too."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        names = [name for name in admin.list_topics(timeout=10).topics if self._token in name]
        for future in admin.delete_topics(names).values():
            future.result()


@cache
def _expected(windows: Windows, records: int) -> verdicts.Expected:
    judge = verdicts.Judge(windows, campaigns)
    return verdicts.expected([verdicts.decode_completion(value) for _, value in completions(records)], judge)


def _pairs(of: Iterable[Matched]) -> Iterator[tuple[Matched, tuple[str, str]]]:
    for event in of:
        yield event, (event.campaign_id, event.completion_id)


def _same(what: str, is_: set[tuple[str, str]], want: set[tuple[str, str]]) -> None:
    """Raises Wrong."""
    if is_ != want:
        more, missing = sorted(is_ - want), sorted(want - is_)
        raise Wrong(
            f"{what}: {len(is_):,}, of which {len(more):,} should not be (such as {more[:EXAMPLES_MAX]}); "
            f"{len(missing):,} are missing (such as {missing[:EXAMPLES_MAX]})"
        )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"

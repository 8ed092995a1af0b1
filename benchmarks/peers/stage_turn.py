"""One side's turn at the three stages, on topics of its own, held against what the stages should say."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec
import psutil
from confluent_kafka.admin import AdminClient

from benchmarks.parts import Wrong
from benchmarks.peers import install, verdicts
from benchmarks.stage_input import campaigns, completions, fill
from ops.topic_scan import TopicScan
from ops.topology_command import apply
from pipeline.settings import Settings
from pipeline.topology import Windows, load
from schemas.codec import codec

PROCESS_TIMEOUT_S = 300.0

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
        outcomes, found = 0, verdicts.Expected({}, set(), set())
        for value in self._values("outcomes"):
            outcome = _decode_outcome(value)
            found.verdicts[outcome.completion_id] = outcome.verdict
            outcomes += 1
        for value in self._values("deliveries"):
            match = verdicts.decode_match(value)
            found.deliveries.add((match.campaign_id, match.completion_id))
        for value in self._values("duplicates"):
            duplicate = _decode_duplicate(value)
            found.duplicates.add((duplicate.campaign_id, duplicate.completion_id))
        for name, is_, want in zip(found._fields, found, should, strict=True):
            if is_ != want:
                raise Wrong(f"{name}: {len(is_):,} that are not the {len(want):,} that should be")
        if outcomes != len(should.verdicts):
            raise Wrong(f"{outcomes:,} verdicts for {len(should.verdicts):,} completions")

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


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"

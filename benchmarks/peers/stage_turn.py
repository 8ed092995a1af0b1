"""One side's turn at the stages, on topics of its own; its output is compared with the expected one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.load.completions import for_stages, ten_campaigns
from benchmarks.load.filling import fill_for_stages
from benchmarks.measure.checks import EXAMPLES_MAX, CheckFailed
from benchmarks.measure.cpu import own_s
from benchmarks.measure.deployment import Broker
from benchmarks.measure.machine import CHECKOUT, TOPOLOGY
from benchmarks.measure.topics import events, own_topics
from benchmarks.peers import verdicts
from pipeline.topology.file import Windows
from pipeline.topology.model import Topology
from schemas.records import Duplicate, Match

PROCESS_TIMEOUT_S = 300.0


class StageRun(msgspec.Struct, frozen=True):
    """Written by a process of itself; and the broker's CPU for these records."""

    records: int
    wall_s: float
    cpu_s: float
    broker_cpu_s: float = 0.0


def take_turn(
    kafka: Broker, command: Sequence[str], ways: Sequence[str], records: int
) -> dict[str, StageRun]:
    """Raises CheckFailed, LoadBroken."""
    with own_topics(kafka.bootstrap) as (namespace, topology):
        fill_for_stages(kafka.bootstrap, topology.topic("completions").name, records)
        should = _expected(topology.windows, records)
        matches = len(should.deliveries) + len(should.duplicates)
        runs = {}
        for way in ways:
            count = matches if way == "dedup" else records
            runs[way] = _run(kafka, [*command, way], namespace, count)
        if "dedup" in ways:
            _check(kafka.bootstrap, topology, should)
        return runs


def _run(kafka: Broker, command: Sequence[str], namespace: str, records: int) -> StageRun:
    way = command[-1]
    with tempfile.TemporaryDirectory(prefix="quizstream-stage-") as folder:
        out, log, datadir = (Path(folder) / name for name in ("measured", "log", "data"))
        datadir.mkdir()
        arguments = [f"--bootstrap={kafka.bootstrap}", f"--group={namespace}{way}"]
        arguments += [f"--namespace={namespace}", f"--records={records}", f"--topology={TOPOLOGY}"]
        arguments += [f"--datadir={datadir}", f"--out={out}"]
        server = psutil.Process(kafka.pid)
        before_s = own_s(server)
        try:
            with log.open("wb") as errors:
                code = subprocess.run(
                    [*command, *arguments],
                    cwd=CHECKOUT,
                    env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    timeout=PROCESS_TIMEOUT_S,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"{way} did not end in {PROCESS_TIMEOUT_S:.0f} s: {_last(log)}") from None
        if code or not out.exists():
            raise CheckFailed(f"{way} ended with {code}: {_last(log)}")
        run = msgspec.json.decode(out.read_bytes(), type=StageRun)
        used_s = own_s(server) - before_s
    return msgspec.structs.replace(run, broker_cpu_s=used_s * run.records / records)


def _check(bootstrap: str, topology: Topology, should: verdicts.Expected) -> None:
    """Verdicts and matches by id; of the matches, the first of each key in this side's own topic pass."""

    def read(role: str) -> list[Any]:
        return [event for _, event in events(bootstrap, topology, role)]

    outcomes = read("outcomes")
    judged = {outcome.completion_id: outcome.verdict for outcome in outcomes}
    _same("verdicts", set(judged.items()), set(should.verdicts.items()))
    if len(outcomes) != len(judged):
        raise CheckFailed(f"{len(outcomes):,} verdicts for {len(judged):,} completions")
    log = read("matches")
    pairs = _pairs(log)
    _same("matches", pairs, should.deliveries | should.duplicates)
    first: dict[bytes, str] = {}
    for match in log:
        first.setdefault(verdicts.key_of(match), match.completion_id)
    passing = _pairs(match for match in log if first[verdicts.key_of(match)] == match.completion_id)
    _same("deliveries", _pairs(read("deliveries")), passing)
    _same("duplicates", _pairs(read("duplicates")), pairs - passing)


@cache
def _expected(windows: Windows, records: int) -> verdicts.Expected:
    return verdicts.expected(list(for_stages(records)), verdicts.Judge(windows, ten_campaigns))


def _pairs(of: Iterable[Match | Duplicate]) -> set[tuple[str, str]]:
    return {(event.campaign_id, event.completion_id) for event in of}


def _same(what: str, is_: set[tuple[str, str]], want: set[tuple[str, str]]) -> None:
    """Raises CheckFailed."""
    if is_ != want:
        more, missing = sorted(is_ - want), sorted(want - is_)
        raise CheckFailed(
            f"{what}: {len(is_):,}, of which {len(more):,} should not be (such as {more[:EXAMPLES_MAX]}); "
            f"{len(missing):,} are missing (such as {missing[:EXAMPLES_MAX]})"
        )


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"

"""So many people at once, each with a connection of their own, who think between two completions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.cpu import CpuClock, between
from benchmarks.e2e import ACTIVATION_MARGIN_S, ARCHIVE, DRAIN_TIMEOUT_S, VERDICTS
from benchmarks.generator import ANSWERS_TIMEOUT_S
from benchmarks.load import END_MARGIN_S, LoadBroken, sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Wrong
from benchmarks.percentiles import Percentiles, percentiles_ms
from benchmarks.scene import Scene, plant
from benchmarks.shapes import close_books
from benchmarks.shapes_users_process import Answered, Crowd
from benchmarks.subject import Tell
from benchmarks.visibility import PositionWatch
from ops.embedded.home import Home
from ops.locate import Deployment

SKIPPED_RATIO = 0.2  # of a crowd's time, in which users arrive and everything warms up


class Crowded(msgspec.Struct, frozen=True):
    """Figures of the time after the first fifth. `ack_ms` counts from when a completion was first sent."""

    users: int
    accepted: int
    accepted_per_s: float
    drained_per_s: float
    ack_ms: Percentiles
    retries: int
    cpu_s: dict[str, float]
    cores_used: float


class Result(msgspec.Struct, frozen=True):
    kind: str
    at: str
    commit: str
    machine: Machine
    think_s: float
    seconds: float
    matching_percent: int
    lost: int
    twice: int
    crowds: list[Crowded]


def measure(
    found: Deployment,
    counts: Sequence[int],
    think_s: float,
    seconds: float,
    matching_percent: int,
    tell: Tell,
) -> Result:
    """One crowd after the other, on a deployment that runs. Raises Wrong, LoadBroken."""
    described, began = machine(), now()
    accepted: list[str] = []
    crowds = []
    for users in counts:
        tell(f"{users:,} users for {seconds:g} s, thinking {think_s:g} s in the mean")
        crowds.append(_crowd(found, users, think_s, seconds, matching_percent, accepted, tell))
    return Result("shape-users", began, commit(), described, think_s, seconds, matching_percent, 0, 0, crowds)


def _crowd(
    found: Deployment,
    users: int,
    think_s: float,
    seconds: float,
    matching_percent: int,
    accepted: list[str],
    tell: Tell,
) -> Crowded:
    """`accepted`: the ids of all crowds so far; this one's are added, and all are reconciled."""
    scene = Scene.fresh(found, users / think_s, matching_percent)
    sleep_until(plant(found, scene) / 1000 + ACTIVATION_MARGIN_S)
    address = urlsplit(found.settings.edge_url)
    positions = PositionWatch(found.settings.database_url, [ARCHIVE, VERDICTS])
    positions.start()
    with tempfile.TemporaryDirectory(prefix="quizstream-users-") as folder:
        out = Path(folder) / "answered"
        crowd = Crowd(
            address.hostname or "127.0.0.1",
            address.port or 80,
            found.settings.service_token,
            scene.questionnaire.quiz_id,
            matching_percent,
            users,
            think_s,
            seconds,
            str(out),
        )
        child = _started(crowd)
        try:
            assert child.stdout is not None
            said = child.stdout.readline().split()
            if len(said) != 2 or said[0] != "begin":
                raise LoadBroken(_last_words(child))
            begun_at = float(said[1])
            cpu = CpuClock(Home(found.settings.home), {"users": child.pid})
            begin_s = SKIPPED_RATIO * seconds
            sleep_until(begun_at + begin_s)
            before = cpu.read()
            sleep_until(begun_at + seconds)
            used = between(before, cpu.read())
            child.wait(ANSWERS_TIMEOUT_S + END_MARGIN_S)
            if child.returncode != 0 or not out.exists():
                raise LoadBroken(_last_words(child))
            answered = msgspec.msgpack.decode(out.read_bytes(), type=Answered)
        except subprocess.TimeoutExpired:
            raise LoadBroken("the users did not end") from None
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if answered.unanswered or answered.refused:
        problems = "; ".join(answered.problems[:3])
        raise Wrong(f"{answered.unanswered:,} users got no answer, {answered.refused:,} refused: {problems}")
    accepted += answered.ids
    close_books(found, accepted, DRAIN_TIMEOUT_S, tell)
    seen = positions.stop()
    drained = min(
        seen.passed_by(sink, begun_at + seconds) - seen.passed_by(sink, begun_at + begin_s)
        for sink in (ARCHIVE, VERDICTS)
    )
    return crowded(users, answered, begin_s, seconds, drained, used)


def crowded(
    users: int, answered: Answered, begin_s: float, end_s: float, drained: int, cpu_s: dict[str, float]
) -> Crowded:
    """Pure. Latencies are of what was sent from `begin_s` to `end_s`, rates of what was answered then."""
    sent_s, took_s = array("d", answered.sent_s), array("d", answered.took_s)
    pairs = list(zip(sent_s, took_s, strict=True))
    answered_then = sum(begin_s <= sent + took < end_s for sent, took in pairs)
    measured_s = end_s - begin_s
    return Crowded(
        users=users,
        accepted=len(answered.ids),
        accepted_per_s=round(answered_then / measured_s, 1),
        drained_per_s=round(drained / measured_s, 1),
        ack_ms=percentiles_ms([took for sent, took in pairs if begin_s <= sent < end_s]),
        retries=answered.retries,
        cpu_s=cpu_s,
        cores_used=round(sum(cpu_s.values()) / measured_s, 2),
    )


def _started(crowd: Crowd) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.shapes_users_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(crowd).decode())
    child.stdin.close()
    return child


def _last_words(child: subprocess.Popen[str]) -> str:
    child.kill()
    child.wait()
    assert child.stderr is not None
    return f"the users ended with {child.returncode}: {child.stderr.read().strip().splitlines()[-1:]}"


def text(r: Result) -> str:
    lines = [
        f"users who think {r.think_s:g} s in the mean, {r.seconds:g} s each; lost {r.lost}, twice {r.twice}"
    ]
    for one in r.crowds:
        lines.append(
            f"  {one.users:>6,} users: {one.accepted_per_s:,}/s accepted, {one.drained_per_s:,}/s drained, "
            f"202 p50 {one.ack_ms.p50} ms p99 {one.ack_ms.p99} ms max {one.ack_ms.max} ms, "
            f"retries {one.retries:,}, {one.cores_used} cores"
        )
    return "\n".join(lines)

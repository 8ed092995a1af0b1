"""This project's side of the journey: a whole deployment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed
from benchmarks.measure.cpu import CpuClock
from benchmarks.measure.deployment import Log, whole
from benchmarks.measure.topics import events_of
from benchmarks.measure.watch import VERDICTS, OffsetWatch
from benchmarks.peers.turn import Judged
from benchmarks.plans import Peers
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.locate import Deployment


class OwnSide:
    """`benchmarks.peers.turn.Side`."""

    def __init__(self, found: Deployment, scene: Scene) -> None:
        self.found = found
        self.scene = scene
        self._watch = OffsetWatch(found)

    def cpu(self, generator_pid: int) -> CpuClock:
        return CpuClock(self.found, {"generator": generator_pid})

    def wait_empty(self, timeout_s: float) -> None:
        moving = settle(self.found, timeout_s)
        if moving:
            raise CheckFailed(f"not finished after {timeout_s:.0f} s: {moving}")

    def judged(self) -> Judged:
        """Raises CheckFailed where the ledger does not hold."""
        seen = self._watch.stop()
        report = reconcile(self.found)
        if not report.ok:
            breaches = "; ".join(breach.what for breach in report.breaches)
            raise CheckFailed(f"the ledger does not hold: {breaches}")
        seen_at: dict[bytes, float] = {}
        matched: set[bytes] = set()
        for record, outcome in events_of(self.found, "outcomes"):
            completion = UUID(outcome.completion_id).bytes
            at = seen.visible_at(VERDICTS, record.partition, record.offset)
            if at is not None:
                seen_at.setdefault(completion, at)
            if outcome.verdict == "matched":
                matched.add(completion)
        return Judged(seen_at, matched)


@contextmanager
def running(plan: Peers, log: Log) -> Iterator[OwnSide]:
    """Raises CannotStart."""
    with whole(log, plan.port_base) as found:
        scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
        plant(found, scene)
        yield OwnSide(found, scene)

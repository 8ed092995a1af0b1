"""This project's side of the journey: a whole deployment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from benchmarks import subject
from benchmarks.cpu import CpuClock
from benchmarks.e2e import ACTIVATION_MARGIN_S, VERDICTS, Plan
from benchmarks.load import sleep_until
from benchmarks.parts import Wrong
from benchmarks.peers.turn import Judged, Tell
from benchmarks.scene import Scene, plant
from benchmarks.visibility import PositionWatch
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.embedded.home import Home
from ops.locate import Deployment
from pipeline.runtime.topic_reader import TopicScan
from schemas.codec import codec


class OwnSide:
    """`benchmarks.peers.turn.Side`."""

    def __init__(self, found: Deployment, scene: Scene) -> None:
        self.found = found
        self.scene = scene
        self._watch = PositionWatch(found.settings.database_url, [VERDICTS])
        self._watch.start()

    def cpu_s(self, generator_pid: int) -> dict[str, float]:
        return CpuClock(Home(self.found.settings.home), {"generator": generator_pid}).read()

    def wait_empty(self, timeout_s: float) -> None:
        moving = settle(self.found, timeout_s)
        if moving:
            raise Wrong(f"after {timeout_s:.0f} s: {moving}")

    def judged(self) -> Judged:
        """Raises Wrong where the ledger does not hold."""
        positions = self._watch.stop()
        report = reconcile(self.found)
        if not report.ok:
            raise Wrong("the ledger does not hold: " + "; ".join(breach.what for breach in report.breaches))
        decode = codec("outcome").decode
        seen_at: dict[bytes, float] = {}
        matched: set[bytes] = set()
        topic = self.found.topology.topic("outcomes")
        for record in TopicScan(self.found.settings.kafka_bootstrap_servers, topic).records():
            outcome = decode(record.value)
            completion = UUID(outcome.completion_id).bytes
            at = positions.visible_at(VERDICTS, record.partition, record.offset)
            if at is not None:
                seen_at.setdefault(completion, at)
            if outcome.verdict == "matched":
                matched.add(completion)
        return Judged(seen_at, matched)


@contextmanager
def running(plan: Plan, port_base: int, tell: Tell) -> Iterator[OwnSide]:
    """Raises CannotStart."""
    with subject.own(tell, port_base) as found:
        scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
        sleep_until(plant(found, scene) / 1000 + ACTIVATION_MARGIN_S)
        yield OwnSide(found, scene)

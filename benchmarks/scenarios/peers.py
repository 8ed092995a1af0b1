"""This project beside its alternatives: the stages, or the whole journey with `bullmq`."""

from __future__ import annotations

from benchmarks.measure.deployment import Log
from benchmarks.measure.machine import Measured
from benchmarks.peers import journey, stages
from benchmarks.plans import Peers
from pipeline.errors import CannotStart


def measure(plan: Peers, log: Log) -> Measured:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    whole = journey.BULLMQ in plan.sides
    known = journey.SIDES if whole else stages.PEERS
    if unknown := [name for name in plan.sides if name not in known]:
        raise CannotStart(f"unknown side {', '.join(unknown)}: choose from {', '.join(known)}")
    return journey.measure(plan, log) if whole else stages.measure(plan, log)

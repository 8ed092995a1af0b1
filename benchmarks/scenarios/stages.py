"""Cost of a record in the transport: batches beside Faust's own transport, with an empty stage each."""

from __future__ import annotations

from benchmarks.measure.deployment import Log
from benchmarks.measure.figures import Spread
from benchmarks.measure.machine import Measured, begin
from benchmarks.peers.stages import OWN, STOCK, cost, take
from benchmarks.plans import Stages

BATCH_VS_STOCK_MIN = 10.0


class Result(Measured, frozen=True, kw_only=True):
    """`batch_vs_stock`: CPU of a record in Faust's own transport over that in ours; `ok`: it is enough."""

    plan: Stages
    ways: dict[str, dict[str, Spread]]
    batch_vs_stock: float
    batch_vs_stock_min: float
    ok: bool


def measure(plan: Stages, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("stages")
    taken = take([OWN, STOCK], ["empty"], plan.records, plan.rounds, plan.port_base, log)
    ways = {name: cost([turn["empty"] for turn in taken[name]]) for name in (OWN, STOCK)}
    ratio = round(ways[STOCK]["cpu_us_per_event"].median / ways[OWN]["cpu_us_per_event"].median, 1)
    return Result(
        **head,
        plan=plan,
        ways={"batch": ways[OWN], "stock": ways[STOCK]},
        batch_vs_stock=ratio,
        batch_vs_stock_min=BATCH_VS_STOCK_MIN,
        ok=ratio >= BATCH_VS_STOCK_MIN,
    )

"""Cost of a record in the transport: batches beside Faust's own transport, with an empty stage each.

`quizstream bench peers --side quizstream` measures the stages with their state.
"""

from __future__ import annotations

from benchmarks.measure.deployment import Tell
from benchmarks.measure.machine import Measured, begin
from benchmarks.peers.stages import OWN, PEERS, STOCK, STOCK_PEER, Cost, interleaved

BATCH_VS_STOCK_MIN = 10.0


class Result(Measured, frozen=True, kw_only=True):
    """`batch_vs_stock`: CPU of a record in Faust's own transport over that in ours; `ok`: it is enough."""

    rounds: int
    records: dict[str, int]
    ways: dict[str, Cost]
    batch_vs_stock: float
    batch_vs_stock_min: float
    ok: bool


def measure(records: int, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("stages")
    peers = {OWN: PEERS[OWN], STOCK: STOCK_PEER}
    counts = {name: int(records * peer.records_ratio) for name, peer in peers.items()}
    commands = {name: peer.command(tell) for name, peer in peers.items()}
    taken = interleaved(commands, counts, ["empty"], rounds, port_base, tell)
    costs = {name: Cost.of([turn["empty"] for turn in turns]) for name, turns in taken.items()}
    ratio = round(costs[STOCK].cpu_us_per_event.median / costs[OWN].cpu_us_per_event.median, 1)
    return Result(
        **head,
        rounds=rounds,
        records=counts,
        ways={"batch": costs[OWN], "stock": costs[STOCK]},
        batch_vs_stock=ratio,
        batch_vs_stock_min=BATCH_VS_STOCK_MIN,
        ok=ratio >= BATCH_VS_STOCK_MIN,
    )

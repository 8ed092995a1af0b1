"""Cost of the edge's guards: authentication, rate limits and their headers, and the anomaly detection.

Two edges take turns, one as shipped and one without guards (`benchmarks/measure/guarded_edge.py`). Valkey's
CPU counts, since the limits are decided there. The answered ids are compared with those in the topic before a
figure is printed.
"""

from __future__ import annotations

import secrets

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed, require_answered
from benchmarks.measure.cpu import CpuClock
from benchmarks.measure.deployment import Log, prepared, processes
from benchmarks.measure.figures import Spread, spreads
from benchmarks.measure.guarded_edge import WITH, WITHOUT, command
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import events_of
from benchmarks.plans import Guards
from ops.deployment.prepare import publish
from ops.locate import Deployment

WARM_UP_S = 5.0
COUNTED = ("edge", "valkey", "generator")
CLIENTS = ("service", "anonymous")


class Result(Measured, frozen=True, kw_only=True):
    """By client and side: CPU microseconds of a request. `ratios`: of edge and Valkey, with over without."""

    plan: Guards
    checked: int
    cpu_us: dict[str, dict[str, Spread]]
    ratios: dict[str, Spread]


def measure(plan: Guards, log: Log) -> Result:
    """Both sides in each round, the first one changing. Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("guards")
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    scene = Scene(secrets.token_hex(3), matching_percent=0, numbers=0)
    answered: list[str] = []
    with prepared(log, plan.port_base) as found:
        plant(found, scene)
        publish(found)
        for turn in range(plan.rounds):
            for guards in (WITH, WITHOUT) if turn % 2 == 0 else (WITHOUT, WITH):
                with processes(found, ["edge"], commands={"edge": command(guards)}):
                    for client in CLIENTS:
                        log(f"round {turn + 1} of {plan.rounds}: {guards} guards, {client} clients")
                        figures, ids = _run(found, scene, plan, client, first_key=len(answered))
                        runs.setdefault((client, guards), []).append(figures)
                        answered += ids
        stored = {event.completion_id for _, event in events_of(found, "completions")}
    if stored != set(answered) or len(stored) != len(answered):
        raise CheckFailed(f"{len(answered)} ids were answered, {len(stored)} are in the topic")
    ratios = {
        client: Spread.of(
            [
                one["edge_and_valkey_us"] / other["edge_and_valkey_us"]
                for one, other in zip(runs[client, WITH], runs[client, WITHOUT], strict=True)
            ]
        )
        for client in CLIENTS
    }
    cpu_us = {f"{client}, {guards} guards": spreads(of) for (client, guards), of in runs.items()}
    return Result(**head, plan=plan, checked=len(answered), cpu_us=cpu_us, ratios=ratios)


def _run(
    found: Deployment, scene: Scene, plan: Guards, client: str, first_key: int
) -> tuple[dict[str, float], list[str]]:
    """Figures, and the answered ids."""
    pace = Constant.of(plan.rate_per_s, WARM_UP_S + plan.seconds)
    with Generation(found, scene, pace, first_key, anonymous=client == "anonymous") as generation:
        began_at = generation.begun_at + WARM_UP_S
        ended_at = began_at + plan.seconds
        used = CpuClock(found, {"generator": generation.pid}).during(began_at, ended_at)
        requests = generation.end()
    require_answered(requests)
    accepted = max(1, requests.accepted_in(began_at, ended_at))
    figures = {f"{name}_us": 1e6 * used.get(name, 0.0) / accepted for name in COUNTED}
    figures["edge_and_valkey_us"] = figures["edge_us"] + figures["valkey_us"]
    return figures, list(requests.accepted())

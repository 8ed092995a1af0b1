"""Renders the schedule and the outcome of a fault run as text."""

from __future__ import annotations

import msgspec

from ops.chaos.run import Outcome, Plan
from ops.chaos.schedule import BY_KIND


def plan_text(plan: Plan) -> str:
    lines = [f"seed {plan.seed}, {plan.duration_s:.0f} s, {plan.rate_per_s:.0f} completions a second"]
    for fault in plan.scheduled:
        about = BY_KIND[fault.kind].about
        lasts = f"{fault.duration_s:4.1f} s" if fault.duration_s else "      "
        lines.append(f"{fault.at_s:7.2f} s  {fault.kind:26} {fault.target:18} {lasts}  {about}")
    return "\n".join(lines)


def plan_json(plan: Plan) -> str:
    return msgspec.json.encode(list(plan.scheduled)).decode()


def text(outcome: Outcome, plan: Plan) -> str:
    """Return the gates; if one does not hold, also the schedule and the histories."""
    lines = []
    if not outcome.ok:
        lines += [plan_text(plan), ""]
        for one, history in outcome.histories.items():
            lines += [f"{one}:", *(f"    {moment}" for moment in history), ""]
    counted = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items()))
    lines += [f"faults: {counted}", f"accepted: {outcome.accepted:,}, retries: {outcome.retries:,}"]
    lines += [f"{'holds' if gate.ok else 'BROKEN':6}  {gate.name}: {gate.detail}" for gate in outcome.gates]
    lines.append(f"seed {outcome.seed}: {'every gate holds' if outcome.ok else 'NOT every gate holds'}")
    return "\n".join(lines)

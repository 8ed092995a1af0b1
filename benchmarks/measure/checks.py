"""Checks that come before a figure: no result is printed for a run that lost or repeated something."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.load.generation import Requests
from benchmarks.measure.deployment import Tell
from ops.audit.ledger_audit import Report
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.locate import Deployment

DRAIN_TIMEOUT_S = 300.0
EXAMPLES_MAX = 3


class CheckFailed(Exception):
    """The output does not match the input: there are no figures. The message says what differs."""


def require_answered(*loads: Requests) -> None:
    """Raises CheckFailed unless every request got its 202."""
    unanswered = sum(each.unanswered for each in loads)
    refused = sum(each.told.refused for each in loads)
    if unanswered or refused:
        problems = "; ".join(problem for each in loads for problem in each.told.problems[:EXAMPLES_MAX])
        raise CheckFailed(f"{unanswered:,} requests without a 202, {refused:,} of them refused: {problems}")


def audit(
    found: Deployment, accepted: Iterable[str], tell: Tell, timeout_s: float = DRAIN_TIMEOUT_S
) -> Report:
    """Waits until nothing moves, then reconciles with the ids that clients received. Raises CheckFailed."""
    tell("waiting until nothing moves")
    moving = settle(found, timeout_s, tell)
    tell("reconciling")
    path = found.settings.home / "accepted.txt"
    with path.open("w", encoding="ascii") as lines:
        lines.writelines(f"{completion_id}\n" for completion_id in accepted)
    report = reconcile(found, path, wait_s=0.0 if moving else None)
    if not report.ok:
        breaches = "; ".join(
            f"{each.kind} {each.what}: {each.count:,}, such as {each.examples[:EXAMPLES_MAX]}"
            for each in report.breaches
        )
        raise CheckFailed(f"lost {report.missing}, twice {report.twice}: {breaches}")
    if moving:
        raise CheckFailed(f"not finished after {timeout_s:.0f} s: {moving}")
    return report

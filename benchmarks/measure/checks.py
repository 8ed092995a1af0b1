"""Checks that come before a figure: no result is printed for a run that lost or repeated something."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from benchmarks.load.generation import Requests
from benchmarks.measure.deployment import Log
from ops.audit.ledger_audit import Report
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.locate import Deployment

DRAIN_TIMEOUT_S = 300.0
EXAMPLES_MAX = 3
LOOK_EVERY_S = 0.05


class CheckFailed(Exception):
    """The output does not match the input: there are no figures. The message says what differs."""


def require_answered(*loads: Requests) -> None:
    """Raises CheckFailed unless every request got its 202, or the one 429 or 503 that its load allows."""
    unanswered = sum(each.unanswered - each.result.rejected for each in loads)
    refused = sum(each.result.refused for each in loads)
    if unanswered or refused:
        problems = "; ".join(problem for each in loads for problem in each.result.problems[:EXAMPLES_MAX])
        raise CheckFailed(f"{unanswered:,} requests without a 202, {refused:,} of them rejected: {problems}")


def wait_until(
    done: Callable[[], bool], timeout_s: float, what: Callable[[], str], every_s: float = LOOK_EVERY_S
) -> None:
    """Raises CheckFailed with `what` was not the case in time."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline_s:
            raise CheckFailed(f"{what()} after {timeout_s:.0f} s")
        time.sleep(every_s)


def audit(found: Deployment, accepted: Iterable[str], log: Log, timeout_s: float = DRAIN_TIMEOUT_S) -> Report:
    """Waits until nothing moves, then reconciles with the ids that clients received. Raises CheckFailed."""
    log("waiting until nothing moves")
    moving = settle(found, timeout_s, log)
    log("reconciling")
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

"""What the load shapes have in common: the books are closed by id before a figure is told."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from benchmarks.parts import Wrong
from benchmarks.subject import Tell
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.locate import Deployment


class Books(msgspec.Struct, frozen=True):
    accepted: int
    messages: int


def close_books(found: Deployment, accepted: Iterable[str], timeout_s: float, tell: Tell) -> Books:
    """Waits until nothing moves, then reconciles with the ids that clients were told. Raises Wrong."""
    tell("waiting until nothing moves")
    if moving := settle(found, timeout_s, tell):
        raise Wrong(f"after {timeout_s:.0f} s there was still to do: {moving}")
    tell("closing the books")
    file = found.settings.home / "accepted.txt"
    with file.open("w", encoding="ascii") as lines:
        lines.writelines(f"{completion_id}\n" for completion_id in accepted)
    report = reconcile(found, file, wait_s=None)
    if not report.ok:
        said = "; ".join(f"{breach.what}: {breach.count:,}" for breach in report.breaches)
        raise Wrong(f"lost {report.missing}, twice {report.twice}: {said}")
    return Books(report.accepted, report.sent)

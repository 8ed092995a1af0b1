"""The ledger audit as a command: every accepted completion is accounted for by id, and no contact twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.audit.collect import OWN_RECORD, Records, gather
from ops.audit.ledger_audit import Report
from ops.audit.settle import settle
from ops.locate import Deployment


def reconcile(
    found: Deployment,
    accepted_file: Path | None = None,
    wait_s: float | None = None,
    progress: Callable[[str], None] = lambda _line: None,
    others: Records = OWN_RECORD,
) -> Report:
    """Run the audit. With `wait_s` it waits until nothing is in flight; what still is then is a breach."""
    still_moving = "" if wait_s is None else settle(found, wait_s, progress)
    return gather(found, accepted_file, others).judge(still_moving)


def show(report: Report, console: Console) -> None:
    console.print(rendered(report))


def rendered(report: Report) -> RenderableType:
    r = report
    rows = [
        ("accepted", r.accepted, "ids in the raw topic or its table"),
        ("  archived", r.archived, "rows in the table of completions"),
        ("  limited", r.limited, "verdict: over a contact's window"),
        ("  unmatched", r.unmatched, "verdict: no campaign"),
        ("  matched", r.matched, "verdict: at least one campaign"),
        ("  dead", r.dead, "in the dead letters, with the reason"),
        ("matches", r.matches, "pairs of completion and campaign"),
        ("  duplicates", r.duplicates, "the contact had an earlier match of the campaign"),
        ("  deliveries", r.deliveries, "rows of the ledger"),
        ("    sent", r.sent, f"of them delivered or read: {r.delivered:,}"),
        ("    failed", r.failed, ""),
        ("    ambiguous", r.ambiguous, "called without an answer: sent or not sent"),
        ("    suppressed", r.suppressed, "opted out, or one person twice"),
        ("    cancelled", r.cancelled, ""),
        ("    dead", r.dead_deliveries, "failed in every attempt"),
        ("    waiting", r.waiting, ""),
        ("dead webhooks", r.dead_webhooks, "their statuses and opt-outs are not applied: redrive them"),
        ("in flight", r.in_flight, "not processed yet by some stage or sink"),
        ("missing", r.missing, "accepted and not accounted for"),
        ("twice", r.twice, "stored, judged or sent twice"),
    ]
    table = Table(title="Reconciliation, by id", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for name, count, about in rows:
        table.add_row(name, f"{count:,}", about)
    lines: list[RenderableType] = [table, *_equations(r)]
    for breach in r.breaches:
        lines.append(Text(f"{breach.kind.upper()}: {breach.what}: {breach.count:,}", style="red"))
        lines.extend(Text(f"    {example}") for example in breach.examples)
    verdict = "The ledger holds." if r.ok else "The ledger does NOT hold."
    lines.append(Text(verdict, style="bold green" if r.ok else "bold red"))
    return Group(*lines)


def _equations(r: Report) -> list[Text]:
    verdicts = {"limited": r.limited, "unmatched": r.unmatched, "matched": r.matched, "dead": r.dead}
    states = {
        "sent": r.sent,
        "failed": r.failed,
        "ambiguous": r.ambiguous,
        "suppressed": r.suppressed,
        "cancelled": r.cancelled,
        "dead": r.dead_deliveries,
        "waiting": r.waiting,
    }
    calls = "not checked: the provider has no record here" if r.calls is None else f"{r.calls:,}"
    return [
        _equation("accepted", r.accepted, verdicts),
        _equation("matches", r.matches, {"deliveries": r.deliveries, "duplicates": r.duplicates}),
        _equation("deliveries", r.deliveries, states),
        Text(f"calls in the provider's record: {calls}"),
        *([Text(f"deliveries at providers without a record: {r.unrecorded:,}")] if r.unrecorded else []),
    ]


def _equation(name: str, total: int, parts: Mapping[str, int]) -> Text:
    sign = "=" if total == sum(parts.values()) else "≠"
    summed = " + ".join(f"{part} {count:,}" for part, count in parts.items())
    return Text(f"{name} {total:,} {sign} {summed}", no_wrap=True, overflow="ignore")

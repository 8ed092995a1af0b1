"""`docs/delivery-states.md`, from the table in `state.py`; run as a module, this writes it."""

from __future__ import annotations

from pathlib import Path

from sinks.delivery.state import (
    ACCEPTED,
    AMBIGUOUS,
    ANY,
    FAILED,
    MEANINGS,
    RESTORING,
    RULES,
    Rule,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "delivery-states.md"

_HEAD = """\
# States of a delivery

Written by `python -m ops.setup.delivery_states` from `sinks/delivery/state.py`; a test compares.
The rows are in the table `deliveries`; each change of state is one event in the topic `delivery.events`.
"""
_TERMINAL = """\
A sender acts on `waiting`, `leased` and `calling`. Every other state is terminal for it: only a status
webhook, the late result of its own last call (`ambiguous`), or an operator (`quizstream deliveries
resolve`, `redrive`) still changes such a delivery.
"""
_RESTORE = """\
## After a restore

A ledger that was restored from an older copy takes the newest event of each delivery from Kafka
([why](dead_letters.md)). These changes repeat history; what may have been called becomes ambiguous.
"""


def document() -> str:
    """`docs/delivery-states.md`; pure."""
    normal = [rule for rule in RULES if rule.event not in RESTORING]
    restoring = [rule for rule in RULES if rule.event in RESTORING]
    parts = [
        _HEAD,
        _lines(["| state | meaning |", "|---|---|", *(f"| `{s}` | {MEANINGS[s]} |" for s in ANY)]),
        _TERMINAL,
        "## What changes a state\n",
        _diagram([rule for rule in normal if rule.statement != "settle_deliveries"]),
        "Status webhooks are left out of the diagram:\n" + _diagram_of_statuses(),
        _table(normal),
        _RESTORE,
        _table(restoring),
    ]
    return "\n".join(parts)


def _diagram(rules: list[Rule]) -> str:
    labels: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        for source in rule.sources or ("[*]",):
            labels.setdefault((str(source), str(rule.target)), []).append(rule.event.replace(":", ","))
    arrows = [f"    {a} --> {b}: {' / '.join(events)}" for (a, b), events in labels.items()]
    return _lines(["```mermaid", "stateDiagram-v2", *arrows, "```"])


def _diagram_of_statuses() -> str:
    return "\n" + _diagram(
        [
            rule._replace(sources=tuple(s for s in rule.sources if s in (*ACCEPTED, FAILED, AMBIGUOUS)))
            for rule in RULES
            if rule.statement == "settle_deliveries"
        ]
    )


def _table(rules: list[Rule]) -> str:
    rows = [
        f"| {rule.event} | {_sources(rule)} | `{rule.target}` | {rule.meaning} | `{rule.statement}` |"
        for rule in rules
    ]
    return _lines(["| event | from | to | when | statement |", "|---|---|---|---|---|", *rows])


def _sources(rule: Rule) -> str:
    if rule.sources == ANY:
        return "any"
    if len(rule.sources) > len(ANY) / 2:
        return "any but " + ", ".join(f"`{state}`" for state in ANY if state not in rule.sources)
    return ", ".join(f"`{source}`" for source in rule.sources) or "(new)"


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")

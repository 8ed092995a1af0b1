"""`docs/webhooks.md`, from the lists of the parser; run as a module, this writes it."""

from __future__ import annotations

from pathlib import Path

from sinks.whatsapp.meta_cloud.fates import Place, Row, rows

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "webhooks.md"

_HEAD = """\
# What becomes of each webhook

Written by `python -m sinks.whatsapp.meta_cloud.fates_document` from the lists of the parser beside it; a test
compares, and sends an example of every kind through the sink.

- `applied`: something changes for sending: a delivery, an opt-out, an alias, a hold, a stop, a limit.
- `stored`: a row is kept, for the time that [retention](retention.md) states.
- `counted`: a metric by kind (`quizstream_webhook_notices_total`), and nothing else.

A part with two ids of one person also teaches them ([people](people.md#ids-of-a-person)).

The edge answers 200 to each, as soon as the record is in Kafka. A part that cannot be read is counted in
`quizstream_webhooks_odd_total`; every other part of the body is taken.
"""
_TITLES: dict[Place, str] = {
    "statuses": "## Statuses of messages (`statuses[]`)",
    "messages": "## Messages of people (`messages[]`)",
    "field": "## Changes of other fields, and errors",
}


def document() -> str:
    """`docs/webhooks.md`; pure."""
    parts = [_HEAD]
    for place, title in _TITLES.items():
        lines = ["| kind | fate | what follows |", "|---|---|---|"]
        lines += [_line(row) for row in rows() if row.place == place]
        parts.append("\n".join([title, "", *lines, ""]))
    return "\n".join(parts)


def _line(row: Row) -> str:
    return f"| {_shown(row.kind)} | {row.fate} | {row.what} |"


def _shown(kind: str) -> str:
    return kind if " " in kind else f"`{kind}`"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")

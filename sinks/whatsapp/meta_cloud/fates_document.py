"""`docs/webhooks.md`, from the lists of the parser; run as a module, this writes it."""

from __future__ import annotations

from pathlib import Path

from sinks.whatsapp.meta_cloud.fates import Place, Row, rows

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "webhooks.md"

_HEAD = """\
# What becomes of each webhook

Written by `python -m sinks.whatsapp.meta_cloud.fates_document` from the lists of the parser beside it; a
test compares, and sends an example of every kind through the sink.

- `applied`: something changes for sending: a delivery, an opt-out, an alias, a hold, a stop, a limit.
- `stored`: a row is kept, for the time that [retention](retention.md) states.
- `counted`: a metric by kind (`quizstream_webhook_notices_total`), and nothing else.

This is of Meta Cloud API. Webhooks of UAZAPI and Evolution API have an address and a key for each number:
[session numbers](session-numbers.md).

A part with two ids of one person also teaches them ([people](people.md#ids-of-a-person)).

The edge answers 200 to each, as soon as the record is in Kafka. A part that cannot be read is counted in
`quizstream_webhooks_odd_total`; every other part of the body is taken. Of the notices in one body that are
stored, the first 1,000 are taken, those from which something follows before the others; more are counted in
`quizstream_webhook_notices_over_total`, and the record has them.

Kinds and forms are those of the provider's reference and of 217 public examples of these projects, which
were read and not copied; the parser takes every part of each: pywa (75), a copy of the provider's reference
in endpoint-flow (37), whatsapp-cloud-api of netflie (30), courier (27), whatsapp-business-java-api of
Bindambc (25), whatsapp of piusalfred (23). Without JSON, and so read by eye: chatwoot, whatsapp-api-js of
Secreto31126. Not read: Whatsapp-Business-Cloud-Api-Net of gabrieldwight, of which only names of files were
seen.
"""
_PAST = """\
## Messages from before a number was connected

A business that used the number in the provider's app may share its chats, up to 180 days back (`history`).
A person who wrote `SAIR` there has decided: the opt-out counts from the time at which it was written, so an
opt-in after it ends it, and a later opt-out or opt-in of the product stays in force. An opt-in counts in
the same way.

- Which messages are of people: those whose sender is not the business's number
  (`metadata.display_phone_number`); where that is not stated, those without a recipient whose sender is the
  person of the chat.
- A message without its time is not read: its opt-in might be older than an opt-out.
- Only a decision is stored, with its text, as `past_message`. A sentence that may be one (`perhaps`) and
  every other message is counted in `quizstream_inbound_events_total`, and its text is not kept. No alias is
  learned from either.
"""
_ERRORS = """\
## Errors without a time

`errors` of no message has no time of its own: the time at which the edge received it counts. So what came
late, or is repeated by the provider, after an operator's release (`number release`, `resume-sending`) holds
the number again; a failed status or a notice, which state when it was, does not. The reason that `number
list` shows has the code: release the number again. A body that the product reads twice holds nothing again.
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
    return "\n".join([*parts, _PAST, _ERRORS])


def _line(row: Row) -> str:
    return f"| {_shown(row.kind)} | {row.fate} | {row.what} |"


def _shown(kind: str) -> str:
    return kind if " " in kind else f"`{kind}`"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")

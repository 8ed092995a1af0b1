"""Shows one dead letter without personal data: its origin, its reason and its decoded record."""

from __future__ import annotations

from typing import Any

import msgspec

from ops.audit.impersonal import impersonal
from ops.dead_letters.letters import Letter, Which, lineage, newest
from ops.locate import Deployment
from pipeline.errors import OperatorError
from schemas.codec import Undecodable, codec
from sinks.postgres import audit_log
from sinks.postgres.connect import connect

RAW_BYTES_SHOWN_MAX = 2000


class NoSuchLetter(OperatorError):
    """The message is one line."""


class Shown(msgspec.Struct, frozen=True):
    """`record`: the decoded event, or `undecodable` and its number of bytes; `before`: the earlier letters.

    `key` is None unless the record is revealed: the key of a foreign record may be anything.
    """

    dead_letter_id: str
    state: str
    stage: str
    reason: str
    attempts: int
    source: str
    failed_at: str
    completion_id: str | None
    redriven_at: str | None
    quarantined_at: str | None
    key: str | None
    record: dict[str, Any]
    before: list[dict[str, str]]


def show(found: Deployment, dead_letter_id: str, *, reveal_to: str | None = None) -> Shown:
    """Return the letter. Raises BadFilter for an invalid id, and NoSuchLetter.

    `reveal_to`: the actor who gets the key and the whole record; the audit log has an entry of it then.
    """
    parameters = Which(id=dead_letter_id, state="all").parameters(found.topology)
    with connect(found.settings.database_url, "dead-letters") as connection:
        letters = newest(connection, parameters, 1)
        if not letters:
            raise NoSuchLetter(f"The table has no dead letter {dead_letter_id}.")
        before = lineage(connection, dead_letter_id)
        if reveal_to is not None:
            audit_log.record(connection, reveal_to, "dead_letter.reveal", dead_letter_id)
    letter = letters[0]
    return Shown(
        dead_letter_id=letter.dead_letter_id,
        state=letter.state,
        stage=letter.stage,
        reason=letter.reason,
        attempts=letter.attempts,
        source=f"{letter.source_topic}[{letter.source_partition}]@{letter.source_offset}",
        failed_at=letter.failed_at.isoformat(),
        completion_id=letter.completion_id,
        redriven_at=None if letter.redriven_at is None else letter.redriven_at.isoformat(),
        quarantined_at=None if letter.quarantined_at is None else letter.quarantined_at.isoformat(),
        key=text(letter.key) if reveal_to is not None and letter.key is not None else None,
        record=record_of(found, letter, reveal=reveal_to is not None),
        before=[
            {"dead_letter_id": each, "stage": stage, "reason": reason, "failed_at": at.isoformat()}
            for each, stage, reason, at in before
        ],
    )


def record_of(found: Deployment, letter: Letter, *, reveal: bool = False) -> dict[str, Any]:
    """Return the event, impersonal unless `reveal`; of undecodable bytes, their number."""
    role = found.topology.role_of(letter.source_topic)
    schema = None if role is None else found.topology.topic(role).schema
    if letter.payload_erased_at is not None:
        hours = found.topology.dead_letters.payload_retention_h
        at = letter.payload_erased_at.isoformat(timespec="seconds")
        return {"erased": f"{at}, after {hours} h: a redrive works only while its topic still has the record"}
    if letter.value is None:
        return {"value": "none: a tombstone, or too large for its letter (it is in its topic)"}
    if role is not None and found.topology.topic(role).changelog_of is not None:
        return {
            "undecodable": "a changelog's record, superseded by `state repair`",
            **raw(letter.value, reveal),
        }
    if schema is None:
        return {"undecodable": "its topic is not in this deployment", **raw(letter.value, reveal)}
    try:
        event = codec(schema).decode(letter.value)
    except Undecodable as error:
        return {"undecodable": error.reason, **raw(letter.value, reveal)}
    if not reveal:
        return impersonal(event)
    revealed: dict[str, Any] = msgspec.to_builtins(event)
    return revealed


def raw(value: bytes, reveal: bool) -> dict[str, Any]:
    """`value`: its number of bytes; with `reveal` its first ones, too."""
    if not reveal:
        return {"bytes": len(value), "hidden": "may hold personal data; --reveal shows it"}
    return {"bytes": len(value), "begins": text(value[:RAW_BYTES_SHOWN_MAX])}


def text(value: bytes) -> str:
    """Return the bytes as text, with non-text bytes escaped."""
    shown = value.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else "·" for c in shown)

"""The history of one completion or delivery: all entries of topics, tables and the provider's record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from ops.audit.impersonal import impersonal, without_answers
from ops.audit.provider_record import NoRecord, ProviderRecord
from ops.audit.waiting import why_waiting
from ops.locate import Deployment
from pipeline.errors import OperatorError
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.model import Topic
from schemas.codec import Undecodable, codec
from schemas.phones import masked
from sinks.postgres.connect import Connection, connect
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("explain.sql"))
STATEMENT_TIMEOUT_MS = 60_000

# Topics with events of one contact. The others hold reference data, state, or bodies that a table holds too.
_ROLES = ("completions", "outcomes", "matches", "deliveries", "duplicates", "delivery_events", "dead_letters")


class Moment(msgspec.Struct, frozen=True):
    """One entry of the history. `at`: ms since the epoch; `detail` has no phone number, name or e-mail."""

    at: int
    where: str
    what: str
    detail: dict[str, Any]


class NothingKnown(OperatorError):
    """The message is one line."""


class BadId(OperatorError):
    """The message is one line."""


def explain(found: Deployment, id_text: str) -> list[Moment]:
    """Return the history, ordered by time. Raises BadId or NothingKnown."""
    try:
        wanted = UUID(id_text.strip())
    except ValueError:
        raise BadId(f"{id_text!r} is not an id: give the UUID of a completion or a delivery.") from None
    url = found.settings.database_url
    with connect(url, "explain", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        deliveries = _rows(connection, "deliveries_of", {"id": wanted})
        ids = sorted(
            {wanted, *(UUID(row[key]) for row in deliveries for key in ("delivery_id", "completion_id"))}
        )
        # The ledger may not have the delivery yet; the topics hold its completion id as well.
        attempts = _rows(connection, "attempts_of", {"ids": ids})
        moments = [
            # Among entries of one time a record comes before the row that it caused.
            *from_topics(found, [str(one) for one in ids]),
            *_from_tables(connection, ids, deliveries, attempts),
            *_from_provider(found, {row["attempt_id"] for row in attempts}),
            *_of_now(connection, deliveries),
        ]
    if not moments:
        raise NothingKnown(f"No topic and no table has the id {wanted}.")
    return sorted(moments, key=lambda moment: moment.at)


def _from_tables(
    connection: Connection, ids: list[UUID], deliveries: list[dict[str, Any]], attempts: list[dict[str, Any]]
) -> Iterator[Moment]:
    for row in _rows(connection, "completion_of", {"ids": ids}):
        yield _moment(row.pop("archived_at"), "table completions", "archived", without_answers(row))
    for row in _rows(connection, "verdicts_of", {"ids": ids}):
        yield _moment(row.pop("accepted_at"), "table outcomes", f"verdict: {row['verdict']}", row)
    for row in _rows(connection, "duplicates_of", {"ids": ids}):
        yield _moment(row.pop("accepted_at"), "table duplicates", "an earlier match exists", row)
    for row in deliveries:
        shown = dict(row)
        created = shown.pop("created_at")
        yield _moment(created, "ledger", f"created; now {shown['state']}", shown)
    for row in attempts:
        called, finished = row["called_at"], row["finished_at"]
        known = ("attempt_id", "delivery_id", "channel", "provider", "number_id", "attempt")
        start = {key: row[key] for key in known}
        yield _moment(called, "table delivery_attempts", "calling the provider", start)
        if finished is not None:
            told = ("attempt_id", "provider", "outcome", "code", "action", "detail", "provider_message_id")
            end = {key: row[key] for key in told}
            yield _moment(finished, "table delivery_attempts", f"call ended: {row['outcome']}", end)
    attempt_ids = [UUID(row["attempt_id"]) for row in attempts]
    messages = [row["provider_message_id"] for row in attempts if row["provider_message_id"]]
    for row in _rows(connection, "statuses_of", {"attempts": attempt_ids, "messages": messages}):
        yield _moment(row.pop("at"), "table provider_statuses", f"provider status: {row['status']}", row)
    for row in _rows(connection, "dead_letters_of", {"ids": ids}):
        yield _moment(row.pop("failed_at"), "table dead_letters", f"dead letter of {row['stage']}", row)


def _of_now(connection: Connection, deliveries: list[dict[str, Any]]) -> Iterator[Moment]:
    """For each delivery that waits, the reasons of this moment."""
    for row in deliveries:
        waits = why_waiting(connection, UUID(row["delivery_id"]))
        if waits is not None:
            detail = {"delivery_id": row["delivery_id"], "reasons": waits.reasons}
            yield _moment(waits.as_of, "ledger", f"waits: {waits.reasons[0]}", detail)


def _rows(connection: Connection, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(QUERIES[query], parameters)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _moment(at: datetime, where: str, what: str, detail: dict[str, Any]) -> Moment:
    return Moment(int(at.timestamp() * 1000), where, what, {k: _plain(v) for k, v in detail.items()})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime, date)) else value


def from_topics(found: Deployment, ids: list[str], roles: Sequence[str] = _ROLES) -> Iterator[Moment]:
    """Every record that holds one of the ids, topic by topic."""
    needles = [one.encode() for one in ids]
    for role in roles:
        topic = found.topology.topic(role)
        for record in TopicScan(found.settings.kafka_bootstrap_servers, topic).records():
            value = record.value or b""
            # Ids are text in the record: searching the bytes avoids decoding all other records.
            if any(needle in value for needle in needles):
                where = f"topic {topic.name}[{record.partition}]@{record.offset}"
                yield Moment(record.timestamp_ms, where, role, _decoded(topic, value))


def _decoded(topic: Topic, value: bytes) -> dict[str, Any]:
    try:
        event = codec(topic.schema or "").decode(value)
    except Undecodable as error:
        return {"undecodable": str(error)}
    return impersonal(event)


def _from_provider(found: Deployment, attempt_ids: set[str]) -> Iterator[Moment]:
    if not attempt_ids:
        return
    with suppress(NoRecord):
        for call in ProviderRecord(found.settings).more():
            if call.attempt_id in attempt_ids:
                detail = {**msgspec.structs.asdict(call), "to": masked(call.to)}
                answer = "accepted it" if call.wamid else f"answered {call.code or call.status or 'nothing'}"
                yield Moment(int(call.at * 1000), "provider's record", f"the provider {answer}", detail)


def time_text(at_ms: int) -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

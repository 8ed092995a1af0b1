"""The stop switch, for operators: `quizstream stop-sending`, `resume-sending` and `number hold|release`.

Where an actor is given, a change leaves its entry in the audit log, in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import psycopg

from pipeline.errors import OperatorError
from sinks.delivery.statements import statement
from sinks.postgres.audit_log import record
from sinks.postgres.catalogue.numbers import UnknownNumber, number_exists
from sinks.postgres.named_rows import fetch

ScopeKind = Literal["global", "tenant", "campaign", "number"]
RELEASES_KEPT_DAYS = 8  # the provider repeats a webhook for up to seven
SCOPE_KINDS: tuple[ScopeKind, ...] = ("global", "tenant", "campaign", "number")

Connection = psycopg.Connection[tuple[object, ...]]


class BadScope(OperatorError):
    """The message says what a scope looks like."""


@dataclass(frozen=True)
class Stop:
    """`by_tenant`: a pause that the tenant made, and that only the tenant ends."""

    scope: str
    reason: str
    stopped_at: datetime
    by_tenant: bool = False


class HeldNumber(NamedTuple):
    """A number that only an operator releases. `state`: paused, stopped or quarantined."""

    number_id: str
    tenant_id: str
    state: str
    reason: str

    def __str__(self) -> str:
        return f"number {self.number_id} is {self.state}{f': {self.reason}' if self.reason else ''}"


def scope_of(kind: str, name: str | None = None) -> str:
    """'global', or 'tenant:<id>', 'campaign:<id>', 'number:<id>'. Raises BadScope."""
    if kind not in SCOPE_KINDS:
        raise BadScope(f'no scope "{kind}": one of {", ".join(SCOPE_KINDS)}')
    if (kind == "global") != (name is None or name == ""):
        raise BadScope(
            "the global scope has no name" if kind == "global" else f"which {kind}? the scope needs its id"
        )
    return kind if kind == "global" else f"{kind}:{name}"


def stop_sending(connection: Connection, scope: str, reason: str = "", actor: str | None = None) -> None:
    """Returns once no delivery of the scope can be marked any more; calls already marked (at most a
    number's places in flight) still end. Stopping what is stopped changes nothing.
    """
    with connection.transaction():
        connection.execute(statement("shut_out_marks"))
        stopped = connection.execute(statement("stop_scope"), {"scope": scope, "reason": reason}).rowcount > 0
        if stopped and actor is not None:
            record(connection, actor, "sending.stop", scope, reason=reason)


def resume_sending(connection: Connection, scope: str, actor: str | None = None) -> bool:
    """True if something was stopped. Resuming a number also ends its hold, by the provider or an operator.

    A pause of the tenant stays in force.
    What a provider's webhook reports of the time before changes nothing any more.
    """
    with connection.transaction():
        resumed = connection.execute(statement("resume_scope"), {"scope": scope}).rowcount > 0
        if scope.startswith("number:"):
            number_id = scope.removeprefix("number:")
            held = connection.execute(statement("resume_number"), {"number_id": number_id}).rowcount > 0
            resumed = resumed or held
        if resumed:
            connection.execute(statement("note_release"), {"scope": scope, "days": RELEASES_KEPT_DAYS})
        if resumed and actor is not None:
            record(connection, actor, "sending.resume", scope)
    return resumed


def pause_by_tenant(connection: Connection, scope: str, reason: str, actor: str) -> bool:
    """The tenant's own stop, beside those of operators and providers; False if it has paused already.

    Returns as `stop_sending` does. A repetition takes no lock: the first one has waited for the marks.
    """
    with connection.transaction():
        given = {"scope": scope, "reason": reason}
        if connection.execute(statement("is_paused_by_tenant"), given).fetchone() is not None:
            return False
        connection.execute(statement("shut_out_marks"))
        paused = connection.execute(statement("pause_by_tenant"), given).rowcount > 0
        if paused:
            record(connection, actor, "sending.stop", scope, reason=reason)
    return paused


def end_pause_of_tenant(connection: Connection, scope: str, actor: str) -> bool:
    """Ends the tenant's own pause alone; False if there was none."""
    with connection.transaction():
        ended = connection.execute(statement("end_pause_of_tenant"), {"scope": scope}).rowcount > 0
        if ended:
            record(connection, actor, "sending.resume", scope)
    return ended


def stopped_by_others(connection: Connection, scope: str) -> str | None:
    """The reason for which an operator or a provider has stopped the campaign or number; None if neither."""
    row = connection.execute(statement("stopped_by_others"), {"scope": scope}).fetchone()
    return None if row is None else str(row[0])


def hold_number(connection: Connection, number_id: str, reason: str, actor: str | None = None) -> bool:
    """Returns once no call from the number can begin; calls in flight still end. Raises `UnknownNumber`.

    False if it was held already, by the provider or an operator: the first reason stays.
    """
    with connection.transaction():
        if not number_exists(connection, number_id):
            raise UnknownNumber(number_id)
        connection.execute(statement("shut_out_marks"))
        parameters = {"number_id": number_id, "state": "stopped", "reason": reason}
        held = connection.execute(statement("hold_number"), parameters).rowcount > 0
        if held and actor is not None:
            record(connection, actor, "number.hold", number_id, reason=reason)
    return held


def release_number(connection: Connection, number_id: str, actor: str | None = None) -> bool:
    """Ends a hold and a stop of this number; False if there was none. Raises `UnknownNumber`."""
    if not number_exists(connection, number_id):
        raise UnknownNumber(number_id)
    return resume_sending(connection, scope_of("number", number_id), actor)


def stops(connection: Connection) -> list[Stop]:
    """Everything that is stopped, by scope."""
    rows = connection.execute(statement("list_stops")).fetchall()
    return [
        Stop(str(scope), str(reason), at, bool(by_tenant))
        for scope, reason, at, by_tenant in rows
        if isinstance(at, datetime)
    ]


def held_numbers(connection: Connection) -> list[HeldNumber]:
    """Numbers that the provider or an operator holds, by id: `resume_sending` of other scopes leaves them."""
    return fetch(connection, statement("list_held_numbers"), HeldNumber)

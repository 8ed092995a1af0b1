"""The stop switch, for operators: `quizstream stop-sending` and `resume-sending`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg

from pipeline.errors import OperatorError
from sinks.delivery.statements import statement

ScopeKind = Literal["global", "tenant", "campaign", "number"]
SCOPE_KINDS: tuple[ScopeKind, ...] = ("global", "tenant", "campaign", "number")

Connection = psycopg.Connection[tuple[object, ...]]


class BadScope(OperatorError):
    """The message says what a scope looks like."""


@dataclass(frozen=True)
class Stop:
    scope: str
    reason: str
    stopped_at: datetime


def scope_of(kind: str, name: str | None = None) -> str:
    """'global', or 'tenant:<id>', 'campaign:<id>', 'number:<id>'. Raises BadScope."""
    if kind not in SCOPE_KINDS:
        raise BadScope(f'no scope "{kind}": one of {", ".join(SCOPE_KINDS)}')
    if (kind == "global") != (name is None or name == ""):
        raise BadScope(
            "the global scope has no name" if kind == "global" else f"which {kind}? the scope needs its id"
        )
    return kind if kind == "global" else f"{kind}:{name}"


def stop_sending(connection: Connection, scope: str, reason: str = "") -> None:
    """Returns once no delivery of the scope can be marked any more; calls already marked (at most a
    number's places in flight) still end. Stopping what is stopped changes nothing.
    """
    with connection.transaction():
        connection.execute(statement("shut_out_marks"))
        connection.execute(statement("stop_scope"), {"scope": scope, "reason": reason})


def resume_sending(connection: Connection, scope: str) -> bool:
    """True if something was stopped. Resuming a number also clears a hold that the provider's answers put
    on it.
    """
    with connection.transaction():
        resumed = connection.execute(statement("resume_scope"), {"scope": scope}).rowcount > 0
        if scope.startswith("number:"):
            number_id = scope.removeprefix("number:")
            held = connection.execute(statement("resume_number"), {"number_id": number_id}).rowcount > 0
            resumed = resumed or held
    return resumed


def stops(connection: Connection) -> list[Stop]:
    """Everything that is stopped, by scope."""
    rows = connection.execute(statement("list_stops")).fetchall()
    return [Stop(str(scope), str(reason), at) for scope, reason, at in rows if isinstance(at, datetime)]

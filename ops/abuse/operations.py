"""List, show, release and block subjects of the anomaly detection; each change is in the audit log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

from ops.locate import Deployment
from pipeline.abuse.addresses import AddressKeys
from pipeline.abuse.states import Cause, Kind, State, Verdict, follow, subject
from pipeline.abuse.verdicts import TooMany, Unavailable, Verdicts
from pipeline.errors import OperatorError
from pipeline.runtime.clock import now_ms
from pipeline.runtime.valkey import connect
from sinks.postgres import audit_log
from sinks.postgres.connect import Connection

TIMEOUT_S = 5.0
ANOTHER_KEY = "(sealed with another QUIZSTREAM_CONTACT_KEY)"
_SUBJECT = re.compile(r"(address|network):[0-9a-f]{16}")

T = TypeVar("T")


class Listed(NamedTuple):
    """`subject` is the id without personal data, as logs have it; `who` the address, network or quiz."""

    subject: str
    who: str
    kind: str
    state: str
    since: datetime
    until: datetime
    score: float
    points: dict[str, float]
    cause: str
    blocks: int


class NoVerdict(OperatorError):
    """The subject has no record."""


def list_verdicts(found: Deployment, *, ended: bool = False) -> list[Listed]:
    """Return what is in force, the last changed first; `ended`: also what has ended and is still kept."""
    now = now_ms()
    verdicts = _with_store(found, lambda store: store.all())
    return [_listed(found, one) for one in verdicts if ended or one.state_at(now) is not State.CLEAR]


def show(found: Deployment, written: str) -> Listed:
    """`written`: an address, a network, `quiz:ID`, or a subject of a log. Raises NoVerdict, NotAnAddress."""
    named, _sealed = _named(found, written)
    verdict = _with_store(found, lambda store: store.find(named))
    if verdict is None:
        raise NoVerdict(f"there is no verdict on {written}")
    return _listed(found, verdict)


def release(
    found: Deployment, connection: Connection, actor: str, written: str, reason: str, for_s: int | None = None
) -> Listed:
    """End what is in force; until `for_s` (default: `release_s`) are over the subject is not judged."""
    lasts_s = for_s or found.topology.edge.abuse.release_s
    return _decide(found, connection, actor, written, State.RELEASED, reason, lasts_s)


def block(
    found: Deployment, connection: Connection, actor: str, written: str, reason: str, for_s: int | None = None
) -> Listed:
    """Block an address or a network for `for_s` (default: `block_s`). A quiz is closed, not blocked."""
    if written.startswith(f"{Kind.QUIZ.value}:"):
        raise OperatorError("a quiz is not blocked: close it: its pages then show that")
    lasts_s = for_s or found.topology.edge.abuse.block_s
    return _decide(found, connection, actor, written, State.BLOCKED, reason, lasts_s)


def _decide(
    found: Deployment,
    connection: Connection,
    actor: str,
    written: str,
    state: State,
    reason: str,
    lasts_s: int,
) -> Listed:
    named, sealed = _named(found, written)
    now = now_ms()

    async def put(store: Verdicts) -> Verdict:
        before = await store.find(named)
        verdict = follow(
            before, state, Cause.OPERATOR, named=named, sealed=sealed, now_ms=now, lasts_s=lasts_s
        )
        await store.put(verdict, before, now, force=True)
        return verdict

    verb = "block" if state is State.BLOCKED else "release"
    with connection.transaction():
        audit_log.record(connection, actor, f"abuse.{verb}", named, reason=reason, lasts_s=lasts_s)
        verdict = _with_store(found, put)
    return _listed(found, verdict)


def _named(found: Deployment, written: str) -> tuple[str, str]:
    """Return the subject, and the sealed address where it is given."""
    if _SUBJECT.fullmatch(written):
        return written, ""
    kind, colon, quiz_id = written.partition(":")
    if colon and kind == Kind.QUIZ.value:
        return subject(Kind.QUIZ, quiz_id), ""
    return AddressKeys(found.settings.contact_key).subject_of(written)


def _listed(found: Deployment, verdict: Verdict) -> Listed:
    who = verdict.key
    if verdict.kind is not Kind.QUIZ:
        unsealed = AddressKeys(found.settings.contact_key).unseal(verdict.key, verdict.sealed)
        who = unsealed or ANOTHER_KEY
    state = verdict.state_at(now_ms())
    return Listed(
        verdict.subject,
        who,
        verdict.kind.value,
        "ended" if state is State.CLEAR else state.value,
        _time(verdict.since_ms),
        _time(verdict.until_ms),
        round(verdict.score, 1),
        verdict.points,
        verdict.cause.value,
        verdict.blocks,
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _with_store(found: Deployment, work: Callable[[Verdicts], Awaitable[T]]) -> T:
    async def run() -> T:
        store = Verdicts(
            partial(connect, found.settings.redis_url, TIMEOUT_S),
            found.topology.namespace,
            found.topology.edge.abuse,
            TIMEOUT_S,
        )
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except TooMany:
        most = found.topology.edge.abuse.verdicts_max
        raise OperatorError(
            f"operators have decided {most} verdicts, as many as are kept: give shorter times (--for), "
            "or raise edge.abuse.verdicts_max"
        ) from None
    except Unavailable as error:
        raise OperatorError(f"Valkey does not answer ({error}): check REDIS_URL") from error

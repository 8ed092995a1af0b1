"""Faults of PostgreSQL: its sessions, locks and file size limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

COPY_WAIT_S_MAX = 5.0
BACK_TIMEOUT_S = 60.0
POLL_S = 0.05
# The size of a WAL segment: tables cannot grow past it, the WAL is not affected.
WAL_SEGMENT_MIB = 1
TABLE_BYTES_MAX = WAL_SEGMENT_MIB << 20
# Less than that: the first commit cannot write its WAL record, and the server crashes and recovers.
LOG_BYTES_MAX = 1 << 13
LOG_FULL_WAIT_S_MAX = 15.0
LOCK_TURN_S = 0.005
DEADLOCKS_TRIED_MAX = (
    12  # one minute in total: the processes that change the ledger may be stopped by another fault
)
BLOCKED_WAIT_S_MAX = 5.0
COUNTED_WAIT_S_MAX = 15.0  # a session publishes its statistics at most ten seconds after it has become idle

_COPYING = """
SELECT pid FROM pg_stat_activity
WHERE state = 'active' AND query LIKE 'COPY %' AND pid <> pg_backend_pid() AND datname = current_database()
"""
_SESSIONS = """
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname = current_database()
"""
# Sessions that this one blocks and that hold locks on the ledger.
_BLOCKED = """
SELECT a.application_name
FROM pg_stat_activity AS a
WHERE %(ours)s = ANY(pg_blocking_pids(a.pid))
  AND EXISTS (SELECT FROM pg_locks AS l
              WHERE l.pid = a.pid AND l.granted AND l.relation = 'deliveries'::regclass)
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_LARGEST = """
SELECT coalesce(max(pg_relation_size(inhrelid)), 0)::bigint
FROM pg_inherits WHERE inhparent IN ('completions'::regclass, 'outcomes'::regclass)
"""
_CALLING = "SELECT attempt_id::text FROM deliveries WHERE state = 'calling'"


class DidNotHappen(Exception):
    """The fault was tried without effect."""


class Database:
    """`url`: the server without a link between; `logs`: the folder of its log."""

    def __init__(self, url: str, logs: Path) -> None:
        self._url = url
        self._logs = logs

    def connect(self) -> Connection:
        """Connect, with retries while the server recovers from another fault. Raises TimeoutError."""
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            with suppress(psycopg.OperationalError):
                return psycopg.connect(self._url, connect_timeout=3, autocommit=True)
            if time.monotonic() > deadline_s:
                raise TimeoutError("PostgreSQL is still unreachable")
            time.sleep(POLL_S)

    def calling(self) -> tuple[str, ...] | None:
        """Return the attempts that may be in flight now; None if the server does not answer."""
        with suppress(psycopg.Error), psycopg.connect(self._url, connect_timeout=3) as connection:
            return tuple(attempt for (attempt,) in connection.execute(_CALLING))
        return None

    def stamped(self, from_s: float, to_s: float, archived_from_s: float) -> int:
        """Count completions archived since then whose `accepted_at` is between the two times."""
        query = """
        SELECT count(*) FROM completions
        WHERE accepted_at BETWEEN to_timestamp(%s) AND to_timestamp(%s) AND archived_at >= to_timestamp(%s)
        """
        with self.connect() as connection:
            row = connection.execute(query, [from_s, to_s, archived_from_s]).fetchone()
        return int(row[0]) if row else 0

    def lock(self, seconds: float) -> str:
        with self.connect() as connection, connection.transaction():
            connection.execute("LOCK TABLE deliveries IN EXCLUSIVE MODE")
            time.sleep(seconds)
        return ""

    def terminate(self) -> str:
        with self.connect() as connection:
            deadline_s = time.monotonic() + COPY_WAIT_S_MAX
            while not (pids := connection.execute(_COPYING).fetchall()) and time.monotonic() < deadline_s:
                time.sleep(0.001)
            copying = len(pids)
            for (pid,) in pids or connection.execute(_SESSIONS).fetchall():
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        return f"{copying} in the middle of a COPY"

    def deadlock(self) -> str:
        """Lock in the opposite order, with a long time-out, so that other sessions detect the deadlock.

        Raises DidNotHappen.
        """
        with self.connect() as ours, self.connect() as looking:
            before = _number(looking, _DEADLOCKS)
            for _ in range(DEADLOCKS_TRIED_MAX):
                blocked = self._cross(ours, looking)
                if not blocked:
                    continue
                deadline_s = time.monotonic() + COUNTED_WAIT_S_MAX
                while (ended := _number(looking, _DEADLOCKS) - before) == 0:
                    if time.monotonic() > deadline_s:
                        break
                    time.sleep(POLL_S)
                if ended:
                    return f"{ended} transactions ended by deadlock, of {', '.join(sorted(set(blocked)))}"
        raise DidNotHappen("no deadlock occurred")

    def _cross(self, ours: Connection, looking: Connection) -> list[str]:
        """Lock outbox, then ledger, unlike all other sessions; return the blocked applications."""
        with suppress(
            psycopg.errors.LockNotAvailable
        ):  # a session that this one does not block has it: next time
            return self._crossed(ours, looking)
        return []

    def _crossed(self, ours: Connection, looking: Connection) -> list[str]:
        with ours.transaction():
            ours.execute("SET LOCAL deadlock_timeout = '60s'")
            ours.execute("SET LOCAL lock_timeout = '8s'")
            ours.execute("LOCK TABLE outbox IN EXCLUSIVE MODE")
            deadline_s = time.monotonic() + BLOCKED_WAIT_S_MAX
            pid = ours.info.backend_pid
            while not (blocked := looking.execute(_BLOCKED, {"ours": pid}).fetchall()):
                if time.monotonic() > deadline_s:
                    return []
                time.sleep(LOCK_TURN_S)
            ours.execute("LOCK TABLE deliveries IN EXCLUSIVE MODE")
        return [str(name) for (name,) in blocked]

    def disk_full(self, seconds: float) -> str:
        """Limit the file size of every session for that time. Raises DidNotHappen.

        If the tables are smaller than a WAL segment, or were not written to, the WAL reaches the limit.
        """
        before = self._complaints()
        limited: set[int] = set()
        try:
            with self.connect() as connection:
                if _number(connection, _LARGEST) >= TABLE_BYTES_MAX * 2:
                    limited |= _limit_all(connection, TABLE_BYTES_MAX, seconds)
                deadline_s = time.monotonic() + LOG_FULL_WAIT_S_MAX
                while self._complaints() == before and time.monotonic() < deadline_s:
                    limited |= _limit_all(connection, LOG_BYTES_MAX, POLL_S)
        except psycopg.OperationalError:
            time.sleep(POLL_S)  # the server crashed; its new processes have no limit
        self.connect().close()
        refused, crashes = (now - then for now, then in zip(self._complaints(), before, strict=True))
        if refused <= 0:
            raise DidNotHappen(f"{len(limited)} sessions wrote past no limit")
        return f"{refused} writes of {len(limited)} sessions failed for lack of space, {crashes} crashes"

    def _complaints(self) -> tuple[int, int]:
        texts = [path.read_text(errors="replace") for path in self._logs.glob("postgres.log*")]
        return (
            sum(text.count("File too large") for text in texts),
            sum(text.count("PANIC:") for text in texts),
        )

    def until(self, holds: Callable[[Connection], bool], what: str) -> None:
        """Wait until the condition holds. Raises TimeoutError."""
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            with suppress(psycopg.OperationalError), self.connect() as connection:
                if holds(connection):
                    return
            if time.monotonic() > deadline_s:
                raise TimeoutError(what)
            time.sleep(POLL_S)


def _limit_all(connection: Connection, bytes_max: int, seconds: float) -> set[int]:
    """Limit all sessions, including new ones; return them once no limit is in force any more."""
    limited: set[int] = set()
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        sessions = {int(pid) for (pid,) in connection.execute(_SESSIONS)}
        _limit(connection, sessions - limited, str(bytes_max))
        limited |= sessions
        time.sleep(POLL_S)
    _limit(connection, limited, "unlimited")
    return limited


def _limit(connection: Connection, pids: set[int], bytes_max: str) -> None:
    """Set the limit from inside the server, whose user has the right. Some processes may have ended."""
    if pids:
        each = " ".join(str(pid) for pid in sorted(pids))
        one = f"prlimit --pid $pid --fsize={bytes_max}: 2>/dev/null"
        deed = f"cat >/dev/null; for pid in {each}; do {one}; done; true"
        connection.execute(sql.SQL("COPY (SELECT 1) TO PROGRAM {}").format(sql.Literal(deed)))


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0

"""The table of messages as a queue: claim with a lease, settle by the lease. Synchronous, for one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sinks.outbound import metrics
from sinks.postgres.audit_log import record_of
from sinks.postgres.connect import Connection
from sinks.postgres.kept_connection import KeptConnection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("queue.sql"))
ACTOR = "webhook-sender"  # in the audit log
GONE, FAILING = "answered 410", "failing"


class DueEndpoint(NamedTuple):
    """`previous_salt`: of the secret that signs too, during a rotation."""

    endpoint_id: str
    tenant_id: str
    url: str
    salt: bytes
    previous_salt: bytes | None


class Claimed(NamedTuple):
    message_id: str
    endpoint_id: str
    tenant_id: str
    kind: str
    content: str
    attempts: int
    lease: str


@dataclass(frozen=True, slots=True)
class Delivered:
    message: Claimed


@dataclass(frozen=True, slots=True)
class Failed:
    """`wait_s`: until the retry; None: it has failed for good. `gone_url`: answered 410."""

    message: Claimed
    error: str
    wait_s: float | None
    gone_url: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """Without an end: to be sent again at once."""

    message: Claimed


Result = Delivered | Failed | Released


class _Disabled(NamedTuple):
    endpoint_id: str
    tenant_id: str
    state: str


class Queue:
    """Connects when it is used. After psycopg.Error it connects again; nothing of the step has happened."""

    def __init__(
        self, connect: Callable[[], Connection], new_id: Callable[[], UUID], *, disable_failing_h: int
    ) -> None:
        self._database = KeptConnection(connect)
        self._new_id = new_id
        self._disable_failing_h = disable_failing_h

    def settle(self, results: Sequence[Result]) -> None:
        """All of them or none, together with what they mean for their endpoints.

        A result whose lease was lost changes nothing, of its endpoint neither: it is another process's.
        """
        if not results:
            return
        delivered = [result.message for result in results if isinstance(result, Delivered)]
        failed = [result for result in results if isinstance(result, Failed)]
        released = [result.message for result in results if isinstance(result, Released)]
        with self._database().transaction():
            if delivered:
                settled = self._settled("settle_delivered", _held(delivered))
                delivered = [message for message in delivered if message.message_id in settled]
                self._execute("endpoints_succeeded", {"endpoints": _endpoints(delivered)})
            if released:
                self._execute("settle_released", _held(released))
            if failed:
                more = {
                    "errors": [result.error for result in failed],
                    "waits": [result.wait_s for result in failed],
                }
                settled = self._settled("settle_failed", _held([result.message for result in failed]) | more)
                failed = [result for result in failed if result.message.message_id in settled]
                self._judge(failed, _endpoints(delivered))
        for result in failed:
            if result.wait_s is None:
                metrics.ENDED.labels("failed").inc()
        metrics.ENDED.labels("delivered").inc(len(delivered))

    def due(self) -> list[DueEndpoint]:
        """Endpoints to which something may be sent now."""
        return fetch(self._database(), QUERIES["due_endpoints"], DueEndpoint)

    def claim(self, rooms: Mapping[str, int], lease_s: float) -> list[Claimed]:
        """At most so many messages of each endpoint; they are this process's for `lease_s`."""
        given = {
            "endpoints": list(rooms),
            "rooms": list(rooms.values()),
            "lease": self._new_id(),
            "lease_s": lease_s,
        }
        return fetch(self._database(), QUERIES["claim"], Claimed, given)

    def disconnect(self) -> None:
        self._database.close()

    def _judge(self, failed: Sequence[Failed], succeeded: Sequence[str]) -> None:
        gone = {result.message.endpoint_id: result.gone_url for result in failed if result.gone_url}
        failing = {result.message.endpoint_id for result in failed} - {*gone, *succeeded}
        given = {"endpoints": list(gone), "urls": list(gone.values()), "reason": GONE}
        self._disabled("disable_gone", given, GONE)
        hours = {"endpoints": sorted(failing), "hours": self._disable_failing_h, "reason": FAILING}
        self._disabled("endpoints_failed", hours, FAILING)

    def _disabled(self, query: str, given: Mapping[str, object], reason: str) -> None:
        for found in fetch(self._database(), QUERIES[query], _Disabled, given):
            if found.state == "disabled":
                metrics.DISABLED.labels(reason).inc()
                place = (self._database(), found.tenant_id, ACTOR, "webhook.disable", found.endpoint_id)
                record_of(*place, reason=reason)

    def _settled(self, query: str, given: Mapping[str, object]) -> set[str]:
        return {str(message_id) for (message_id,) in self._database().execute(QUERIES[query], given)}

    def _execute(self, query: str, given: Mapping[str, object]) -> None:
        self._database().execute(QUERIES[query], given)


def _held(messages: Sequence[Claimed]) -> dict[str, object]:
    return {
        "messages": [message.message_id for message in messages],
        "leases": [message.lease for message in messages],
    }


def _endpoints(messages: Sequence[Claimed]) -> list[str]:
    return sorted({message.endpoint_id for message in messages})

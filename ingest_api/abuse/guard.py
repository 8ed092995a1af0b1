"""Handlers around handlers: stop what has a verdict before its body is read; note what each request was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ingest_api.abuse.metrics import ANSWERS
from ingest_api.abuse.observations import Observation, Observations, Outcome
from ingest_api.abuse.table import Table
from ingest_api.abuse.tickets import PARAMETER, Tickets
from ingest_api.completions.receive import COMPLETION
from ingest_api.http.problems import BLOCKED, CHALLENGED, Problem
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.limits.rate_limited import SOURCE
from ingest_api.limits.sources import Source, Sources
from ingest_api.reference.tokens import Tokens
from pipeline.abuse.states import Kind, State, Verdict, subject
from pipeline.topology.file import Abuse
from schemas.records import EVERY_TENANT

Handler = Callable[[Scope, Receive], Awaitable[Reply]]
Sleep = Callable[[float], Awaitable[None]]

WITH_TICKET = "quizstream.with_ticket"  # in the scope of a request whose ticket was used

_DELAYED = ANSWERS.labels("delayed")
_CHALLENGED = ANSWERS.labels("challenged")
_PASSED = ANSWERS.labels("passed")
_BLOCKED = ANSWERS.labels("blocked")


class Guard:
    """At the quizzes of its tenant a token in force passes: it has limits, and can be revoked."""

    def __init__(
        self,
        table: Table,
        observations: Observations,
        sources: Sources,
        network_key: Callable[[bytes], str],
        tokens: Tokens,
        tenant_of: Callable[[str], str | None],
        tickets: Tickets,
        limits: Abuse,
        now_ms: Callable[[], int],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`tenant_of` gives the tenant of a quiz, or None for an unknown quiz."""
        self._table = table
        self._observations = observations
        self._sources = sources
        self._network_key = network_key
        self._tokens = tokens
        self._tenant_of = tenant_of
        self._tickets = tickets
        self._limits = limits
        self._now_ms = now_ms
        self._sleep = sleep
        self._delayed = 0

    def completions(self, handle: Handler) -> Handler:
        async def guarded(scope: Scope, receive: Receive) -> Reply:
            if not self._table.is_empty or scope["query_string"]:
                refused = await self._stop(scope)
                if refused is not None:
                    return refused
            return await self._noted(handle, scope, receive)

        return guarded

    def pages(self, handle: Handler) -> Handler:
        """Reject readers of a page that are blocked; not where people behind the address may answer."""

        async def guarded(scope: Scope, receive: Receive) -> Reply:
            refused = self._blocked(scope)
            return await self._noted(handle, scope, receive) if refused is None else refused

        return guarded

    def forms(self, handle: Handler) -> Handler:
        """Before a form is read; what it holds then meets `completions`."""

        async def guarded(scope: Scope, receive: Receive) -> Reply:
            refused = self._blocked(scope)
            return await handle(scope, receive) if refused is None else refused

        return guarded

    def reports(self, handle: Handler) -> Handler:
        """Reject reports of progress from what is blocked, also where tickets pass: a report has none."""

        async def guarded(scope: Scope, receive: Receive) -> Reply:
            refused = self._blocked(scope, also_passed_by_tickets=True)
            return await handle(scope, receive) if refused is None else refused

        return guarded

    def is_blocked(self, scope: Scope) -> bool:
        return self._block(scope) is not None

    async def _noted(self, handle: Handler, scope: Scope, receive: Receive) -> Reply:
        reply = await handle(scope, receive)
        source = scope.get(SOURCE)
        if source is not None:
            quiz_id = scope["path_params"]["quiz_id"]
            self._observations.answered(
                source, quiz_id, reply, scope.get(COMPLETION), with_ticket=WITH_TICKET in scope
            )
        return reply

    async def _stop(self, scope: Scope) -> Reply | None:
        """Return the rejection, if there is one; a request that is delayed returns later."""
        if scope["method"] == "OPTIONS":
            return None
        headers: dict[bytes, bytes] = dict(scope["headers"])
        source = self._sources.of_request(scope.get("client"), headers)
        if not source.judged:
            return None
        verdict = self._verdict(scope, source, headers)
        if verdict is not None and not verdict.passed_by_tickets:
            return self._rejected(verdict)
        answers = await self._answers(scope, source)  # a ticket counts after its challenge has ended, too
        if verdict is None:
            return None
        match verdict.state:
            case State.CHALLENGED | State.BLOCKED if answers:
                _PASSED.inc()
            case State.CHALLENGED | State.BLOCKED:
                return self._challenge(scope, source, verdict)
            case State.DELAYED if self._delayed < self._limits.delayed_max:
                _DELAYED.inc()
                self._delayed += 1
                try:
                    await self._sleep(self._limits.delay_ms / 1000)
                finally:
                    self._delayed -= 1
        return None

    def _blocked(self, scope: Scope, *, also_passed_by_tickets: bool = False) -> Reply | None:
        verdict = self._block(scope)
        if verdict is None or (verdict.passed_by_tickets and not also_passed_by_tickets):
            return None
        return self._rejected(verdict)

    def _block(self, scope: Scope) -> Verdict | None:
        if self._table.is_empty or scope["method"] == "OPTIONS":
            return None
        headers: dict[bytes, bytes] = dict(scope["headers"])
        source = self._sources.of_request(scope.get("client"), headers)
        verdict = self._verdict(scope, source, headers) if source.judged else None
        return verdict if verdict is not None and verdict.state is State.BLOCKED else None

    def _verdict(self, scope: Scope, source: Source, headers: dict[bytes, bytes]) -> Verdict | None:
        if self._table.is_empty:
            return None
        quiz_id = scope["path_params"].get("quiz_id", "")
        verdict = self._table.strictest(
            subject(Kind.ADDRESS, source.key),
            subject(Kind.NETWORK, self._network_key(source.part)),
            subject(Kind.QUIZ, quiz_id),
        )
        if verdict is None or self._is_of_quizs_tenant(headers.get(b"authorization"), quiz_id):
            return None
        return verdict

    def _is_of_quizs_tenant(self, authorization: bytes | None, quiz_id: str) -> bool:
        """Another tenant's token does not help: every tenant can make itself one."""
        service = self._tokens.find(authorization)
        return service is not None and service.tenant_id in (EVERY_TENANT, self._tenant_of(quiz_id))

    def _rejected(self, verdict: Verdict) -> Reply:
        _BLOCKED.inc()
        return Problem(
            BLOCKED,
            "this address sent what looks like abuse",
            retry_after_s=(verdict.until_ms - self._now_ms()) / 1000,
        ).reply()

    async def _answers(self, scope: Scope, source: Source) -> bool:
        if not scope["query_string"]:
            return False
        quiz_id = scope["path_params"]["quiz_id"]
        issued_ms = await self._tickets.use(scope["query_string"], self._network_key(source.part), quiz_id)
        if issued_ms is None:
            return False
        scope[WITH_TICKET] = True
        if self._table.known(subject(Kind.ADDRESS, source.key)) is not None:
            self._observations.add(Observation(source, quiz_id, Outcome.ANSWERED, issued_ms=issued_ms))
        return True

    def _challenge(self, scope: Scope, source: Source, verdict: Verdict) -> Reply:
        """A challenge for what others of a network or a quiz did does not count when it stays unanswered."""
        quiz_id = scope["path_params"]["quiz_id"]
        issued = self._tickets.issue(self._network_key(source.part), quiz_id)
        if verdict.kind is Kind.ADDRESS:
            self._observations.add(Observation(source, quiz_id, Outcome.CHALLENGED, issued_ms=issued.at_ms))
        is_block = verdict.state is State.BLOCKED
        (_BLOCKED if is_block else _CHALLENGED).inc()
        wait_s = self._limits.ticket_wait_s
        why = "this address sent what looks like abuse; if that was not you, " if is_block else ""
        return Problem(
            BLOCKED if is_block else CHALLENGED,
            f"{why}send the same request again after {wait_s} s, with this ticket in its query",
            retry_after_s=wait_s,
            extra={PARAMETER: issued.ticket},
        ).reply()

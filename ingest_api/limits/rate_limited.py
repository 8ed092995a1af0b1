"""A handler around a handler: rejects requests beyond the rate limits, and states the limits in each answer.

`RateLimit` and `RateLimit-Policy` are those of the IETF draft (draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from ingest_api.completions.receive import COMPLETION
from ingest_api.http.metrics import LIMITED
from ingest_api.http.problems import RATE_LIMITED, Problem, Rejection
from ingest_api.http.reply import Headers, Receive, Reply, Scope
from ingest_api.limits.limiter import Limiter
from ingest_api.limits.sources import Source, Sources
from ingest_api.limits.tenant_rules import NONE, TenantRules
from ingest_api.limits.windows import REGION, Keys, Rule
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.tokens import Tokens
from pipeline.topology.file import RateLimits, Window
from schemas.records import EVERY_TENANT
from schemas.tenant_limits import TENANT_DAY

Handler = Callable[[Scope, Receive], Awaitable[Reply]]
SOURCE = "quizstream.source"  # in the scope: the one client that an address stands for, if its limit counts


class Rules:
    """Every general rule, by what it counts. `region`: that of the edges here, if it has one."""

    def __init__(self, limits: RateLimits, region: str = "") -> None:
        self.address = _rule("address", limits.address, "completions of one address")
        self.pages = _rule("pages", limits.pages, "requests for pages from one address")
        self.quiz_pages = _rule("quiz_pages", limits.quiz_pages, "requests for quiz pages from one address")
        self.token = _rule("token", limits.token, "completions with one token")
        self.service = _rule("service", limits.service, "completions with one service token")
        self.quiz = _rule("quiz", limits.quiz, "completions of one quiz")
        self.tenant = _rule("tenant", limits.tenant, "completions of one tenant")
        self.progress = _rule("progress", limits.progress, "reports of progress from one address")
        self.progress_quiz = _rule("progress_quiz", limits.progress_quiz, "reports of progress of one quiz")
        window = limits.regions.get(region)
        self.region = None if window is None else _rule(REGION, window, "completions of one region")
        self.region_name = region

    @property
    def all(self) -> Sequence[Rule]:
        here = () if self.region is None else (self.region,)
        return (*self.of_tenants, self.pages, self.service, self.progress, self.progress_quiz, *here)

    @property
    def of_tenants(self) -> Sequence[Rule]:
        """Those that a tenant may replace."""
        return (self.address, self.quiz_pages, self.token, self.quiz, self.tenant)


def _rule(name: str, window: Window, about: str) -> Rule:
    return Rule(name, window.limit, window.window_s, about)


class Callers:
    """Finds the keys under which a request is counted."""

    def __init__(
        self, rules: Rules, own: TenantRules, sources: Sources, tokens: Tokens, quizzes: Quizzes
    ) -> None:
        """`own`: the rules that tenants have of their own."""
        self._rules = rules
        self._own = own
        self._sources = sources
        self._tokens = tokens
        self._quizzes = quizzes

    def of_page(self, scope: Scope) -> Keys:
        return self._of_address(scope, self._rules.pages)

    def of_quiz_page(self, scope: Scope) -> Keys:
        scoring = self._quizzes.find(scope["path_params"]["quiz_id"].removesuffix(".json"))
        tenant_id = "" if scoring is None else scoring.quiz.tenant_id
        return self._of_address(scope, self._rules.quiz_pages, tenant_id)

    def of_progress(self, scope: Scope) -> Keys:
        """Keys of its own, so that reports use up no limit of completions."""
        keys = self._of_address(scope, self._rules.progress)
        scoring = self._quizzes.find(scope["path_params"]["quiz_id"])
        return keys if scoring is None else (*keys, (self._rules.progress_quiz, scoring.quiz.quiz_id))

    def _of_address(self, scope: Scope, rule: Rule, tenant_id: str = "") -> Keys:
        source = self._source(scope, dict(scope["headers"]))
        if source.judged:
            scope[SOURCE] = source
        return (
            () if source.trusted else (_at(self._own.of(tenant_id).get(rule.name), tenant_id, rule, source),)
        )

    def of_completion(self, scope: Scope) -> Keys:
        """The caller's own key first: the limit that its answers state.

        - A token is counted instead of the address; an unknown one counts as none.
        - An unknown quiz has no keys, so that a client cannot generate keys.
        """
        rules = self._rules
        headers: dict[bytes, bytes] = dict(scope["headers"])
        service = self._tokens.find(headers.get(b"authorization"))
        scoring = self._quizzes.find(scope["path_params"]["quiz_id"])
        tenant_id = "" if scoring is None else scoring.quiz.tenant_id
        own = NONE if scoring is None else self._own.of(tenant_id)
        keys: list[tuple[Rule, str]] = []
        if service is None:
            source = self._source(scope, headers)
            if source.judged:
                scope[SOURCE] = source
            if not source.trusted:
                keys.append(_at(own.get("address"), tenant_id, rules.address, source))
        elif service.tenant_id == EVERY_TENANT:
            keys.append((rules.service, service.token_hash))
        else:
            keys.append((self._own.of(service.tenant_id).get("token", rules.token), service.token_hash))
            if service.tenant_id != tenant_id:
                return tuple(keys)  # it will be rejected, and uses up nothing of the other tenant
        if scoring is not None:
            keys.append((own.get("quiz", rules.quiz), scoring.quiz.quiz_id))
            keys.append((own.get("tenant", rules.tenant), tenant_id))
            of_day = own.get(TENANT_DAY)
            if of_day is not None:
                keys.append((of_day, tenant_id))
            if rules.region is not None:
                keys.append((rules.region, rules.region_name))
        return tuple(keys)

    def _source(self, scope: Scope, headers: dict[bytes, bytes]) -> Source:
        return self._sources.of_request(scope.get("client"), headers)


def _at(own: Rule | None, tenant_id: str, general: Rule, source: Source) -> tuple[Rule, str]:
    """A tenant's own limit of an address counts what the address sends to that tenant alone."""
    return (general, source.key) if own is None else (own, f"{tenant_id}:{source.key}")


class RateLimited:
    """Only the caller's own limit is stated in accepted answers: those of a quiz are its tenant's.

    An answer that caches share states none.
    """

    def __init__(self, handle: Handler, limiter: Limiter, keys_of: Callable[[Scope], Keys]) -> None:
        self._handle = handle
        self._limiter = limiter
        self._keys_of = keys_of

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return await self._handle(scope, receive)
        keys = self._keys_of(scope)
        if not keys:
            return await self._handle(scope, receive)
        decision = await self._limiter.decide(keys)
        if decision.refusing is not None:
            return rejected(decision.refusing, decision.retry_after_s)
        try:
            reply = await self._handle(scope, receive)
        except Rejection as rejection:
            reply = rejection.problem.reply()
        except BaseException:
            self._give_back(keys)
            raise
        if COMPLETION not in scope:
            self._give_back(keys)
        rule = keys[0][0]
        if rule.name in _CALLERS_OWN and not _is_shared(reply):
            return replace(reply, headers=reply.headers + stated(rule, decision.remaining[0], rule.window_s))
        return reply

    def _give_back(self, keys: Keys) -> None:
        """A quota counts accepted completions: not what was rejected for its content, nor a repeat."""
        for rule, key in keys:
            if rule.name == TENANT_DAY:
                self._limiter.give_back(rule, key)


def _is_shared(reply: Reply) -> bool:
    """Whether caches may give the answer to other visitors, whose limits it does not state.

    `no-cache="ratelimit"` would exclude the header alone, but caches may read it as `no-cache` (RFC 9111,
    5.2.2.4) and would then keep no page.
    """
    return any(name == b"cache-control" and value.startswith(b"public") for name, value in reply.headers)


_CALLERS_OWN = ("address", "pages", "quiz_pages", "token", "service", "progress")


def rejected(rule: Rule, retry_after_s: float) -> Reply:
    LIMITED.labels(rule.name).inc()
    return Problem(
        RATE_LIMITED,
        f"at most {rule.limit} {rule.about} are accepted in {rule.window_s} s",
        retry_after_s=retry_after_s,
        headers=stated(rule, 0, retry_after_s),
    ).reply()


def stated(rule: Rule, remaining: int, reset_s: float) -> Headers:
    """Return the two headers; `reset_s`: when more requests are accepted, at the latest.

    A request counts for up to a bucket more than the window. `t` is a part of the window and at most as long;
    `Retry-After` is exact.
    """
    name = rule.name.encode()
    reset_s = min(rule.window_s, max(1, math.ceil(reset_s)))
    return (
        (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (name, rule.limit, rule.window_s)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (name, remaining, reset_s)),
    )

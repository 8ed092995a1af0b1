"""Several edge processes without sockets: their guards, detectors and a limit, on one virtual clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any

import msgspec

from ingest_api.abuse.detector import Detector
from ingest_api.abuse.examiner import Examiner
from ingest_api.abuse.guard import Guard
from ingest_api.abuse.memory_store import MemoryStore
from ingest_api.abuse.observations import Observations
from ingest_api.abuse.store import Exchanged, Position, Report, Store
from ingest_api.abuse.table import Table
from ingest_api.abuse.tickets import Tickets
from ingest_api.abuse.used_tickets import UsedTickets
from ingest_api.completions.receive import COMPLETION
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.limits.rate_limited import SOURCE, rejected
from ingest_api.limits.sources import Sources
from ingest_api.limits.windows import LocalWindows, Rule
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.tokens import Tokens
from pipeline.abuse.states import Kind, State, Verdict, subject
from pipeline.abuse.verdicts import Unavailable
from pipeline.topology.file import Abuse
from pipeline.topology.file import Sources as Configured
from pipeline.topology.loader import load
from schemas import ids
from schemas.records import Answer, Completion, Personal, Question, Quiz
from tests.support.deployed import TOPOLOGY_FILE

KEY = b"a contact key"
BEGAN_MS = 1_790_000_000_000
ABUSE = load(TOPOLOGY_FILE, "").edge.abuse
TRUSTED = "203.0.113.0/24"
QUIZ = Quiz("survey", "acme", 1, "Survey", [Question(f"q{n}") for n in range(16)], created_at=0)


class Clock:
    def __init__(self) -> None:
        self.ms = BEGAN_MS

    def now_ms(self) -> int:
        return self.ms

    def now_s(self) -> float:
        return self.ms / 1000


@dataclass(frozen=True)
class Sent:
    status: int
    problem: str
    retry_after_s: int
    ticket: str


class Failing(MemoryStore):
    """A store that all processes share, which may be unavailable or lose its memory."""

    is_away = False

    def forget(self) -> None:
        MemoryStore.__init__(self, self._limits, self._now_ms)

    async def exchange(self, report: Report, since: Position) -> Exchanged:
        if self.is_away:
            raise Unavailable("away")
        return await super().exchange(report, since)

    async def put(self, verdict: Verdict, before: Verdict | None, now_ms: int) -> bool:
        if self.is_away:
            raise Unavailable("away")
        return await super().put(verdict, before, now_ms)


class Process:
    def __init__(self, world: World, shared: Store) -> None:
        limits, clock = world.limits, world.clock
        self.observations = Observations(limits.observed_max)
        self.examiner = Examiner(world.sources.keys, world.quizzes, limits, clock.now_s, clock.now_ms)
        self.table = Table(limits, clock.now_ms)
        self.detector = Detector(
            self.observations,
            self.examiner,
            self.table,
            shared,
            partial(MemoryStore, limits, clock.now_ms),
            limits,
            clock.now_ms,
        )
        guard = Guard(
            self.table,
            self.observations,
            world.sources,
            self.examiner.network_key,
            world.tokens,
            {QUIZ.quiz_id: QUIZ.tenant_id}.get,
            Tickets(KEY, limits, clock.now_ms, world.used_tickets),
            limits,
            clock.now_ms,
            world.wait,
        )
        self.handle: Callable[[Scope, Receive], Awaitable[Reply]] = guard.completions(world.receive)


@dataclass
class World:
    processes: int = 4
    address_limit: int = 100
    limits: Abuse = ABUSE
    shared: Store | None = None
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.sources = Sources(Configured(trusted=(TRUSTED,)), KEY)
        self.quizzes = Quizzes()
        self.tokens = Tokens(self.clock.now_s)
        self.used_tickets = UsedTickets(self.limits, self.clock.now_ms, nowhere)  # of all processes
        self.publish(QUIZ)
        self._rule = Rule("address", self.address_limit, 60)
        self._windows = LocalWindows(100_000, self.clock.now_s)
        self._store = self.shared or MemoryStore(self.limits, self.clock.now_ms)
        self.edges = [Process(self, self._store) for _ in range(self.processes)]
        self.statuses: dict[str, Counter[str]] = {}
        self.seen: dict[str, dict[State, int]] = {}
        self._requests = 0
        self._next_look_ms = self.clock.ms

    def publish(self, quiz: Quiz) -> None:
        self.quizzes.on_event(quiz.quiz_id.encode(), quiz)

    def restart(self, number: int) -> None:
        self.edges[number] = Process(self, self._store)

    async def wait(self, _seconds: float) -> None:
        """A delayed request is not late here."""

    async def until(self, at_ms: int) -> None:
        """Let time pass, and every process look at each interval."""
        while self._next_look_ms <= at_ms:
            self.clock.ms = max(self.clock.ms, self._next_look_ms)
            for edge in self.edges:
                await edge.detector.look()
            self._note()
            self._next_look_ms += self.limits.interval_ms
        self.clock.ms = max(self.clock.ms, at_ms)

    async def send(
        self,
        address: str,
        answers: dict[str, Answer] | None,
        phone: str | None = None,
        *,
        quiz_id: str = QUIZ.quiz_id,
        ticket: str = "",
        key: str = "",
        token: str = "",
    ) -> Sent:
        """One request, at the next process. `answers` None: a body that is not valid."""
        self._requests += 1
        edge = self.edges[self._requests % len(self.edges)]
        scope: dict[str, Any] = {
            "method": "POST",
            "client": (address, 1),
            "headers": [(b"authorization", f"Bearer {token}".encode())] if token else [],
            "query_string": f"ticket={ticket}".encode() if ticket else b"",
            "path_params": {"quiz_id": quiz_id},
            "test.content": (answers, phone, key or str(self._requests)),
        }
        reply = await edge.handle(scope, _no_body)
        self.statuses.setdefault(address, Counter())[reply.problem or str(reply.status)] += 1
        members = msgspec.json.decode(reply.body) if reply.problem else {}
        return Sent(
            reply.status,
            reply.problem,
            int(dict(reply.headers).get(b"retry-after", b"0")),
            members.get("ticket", ""),
        )

    async def receive(self, scope: Scope, _receive: Receive) -> Reply:
        """As the edge behind the guard: the limit of the address first, then the content."""
        source = self.sources.of_request(scope["client"], {})
        if not source.trusted:
            if source.judged:
                scope[SOURCE] = source
            decision = self._windows.decide(((self._rule, source.key),))
            if decision.refusing is not None:
                return rejected(self._rule, decision.retry_after_s)
        answers, phone, key = scope["test.content"]
        if answers is None:
            return Reply(422, b"{}", problem="invalid-body")
        quiz_id = scope["path_params"]["quiz_id"]
        contact_id = ids.contact_id(KEY, "acme", phone) if phone else ""
        completion_id = ids.completion_id("acme", quiz_id, key, contact_id)
        scope[COMPLETION] = Completion(
            completion_id=completion_id,
            tenant_id="acme",
            quiz_id=quiz_id,
            quiz_version=1,
            contact_id=contact_id or ids.anonymous_contact_id(KEY, completion_id),
            day=0,
            submitted_at=self.clock.ms,
            accepted_at=self.clock.ms,
            answers=answers,
            personal=Personal(phone),
        )
        return Reply(202, b"{}")

    def state(self, address: str, edge: int = 0) -> State:
        verdict = self.edges[edge].table.known(self.subject(address))
        return State.CLEAR if verdict is None else verdict.state_at(self.clock.ms)

    def subject(self, address: str) -> str:
        return subject(Kind.ADDRESS, self.sources.of_host(address).key)

    def first_ms(self, address: str, state: State) -> int | None:
        """When the address was first in the state in every process, from the beginning."""
        return self.seen.get(self.subject(address), {}).get(state)

    def ever(self) -> set[tuple[str, State]]:
        """Kind and state of every verdict that there was."""
        return {(named.partition(":")[0], state) for named, states in self.seen.items() for state in states}

    def _note(self) -> None:
        for verdict in self.edges[0].table.active():
            if all(edge.table.known(verdict.subject) == verdict for edge in self.edges):
                states = self.seen.setdefault(verdict.subject, {})
                states.setdefault(verdict.state, self.clock.ms - BEGAN_MS)


async def nowhere(_script: str, *_arguments: object) -> None:
    raise Unavailable("there is no Valkey here")


async def _no_body() -> Any:
    raise AssertionError("the body is read")


def packed(host: str) -> bytes:
    return ip_address(host).packed

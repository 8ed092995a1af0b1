"""Breaks one thing on purpose in every Python process that has this folder on its path.

Python imports a module of this name at its start. Production code knows nothing of it: it takes a test that
puts the folder on the path, names the mutation and says that mutations are allowed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

MUTATION = "QUIZSTREAM_MUTATION"
ALLOWED = "QUIZSTREAM_ALLOW_MUTATIONS"


def _drop_the_unique_key(deliveries: ModuleType) -> None:
    prepare = deliveries.Deliveries.prepare

    def mutated(self: Any, connection: Any) -> None:
        connection.execute("ALTER TABLE deliveries DROP CONSTRAINT IF EXISTS deliveries_pkey CASCADE")
        prepare(self, connection)

    deliveries.Deliveries.prepare = mutated


def _call_without_a_mark(ledger: ModuleType) -> None:
    async def mutated(self: Any, attempts: Sequence[Any], *, lease_s: float) -> list[Any]:
        return [ledger.Marked() for _ in attempts]

    ledger.Ledger.mark = mutated


def _await_no_delivery(producer: ModuleType) -> None:
    async def mutated(self: Any) -> dict[tuple[str, int], Any]:
        return {}

    producer._Batch.wait = mutated


def _commit_before_the_write(positions: Any) -> None:
    move = positions.move

    def mutated(connection: Any, sink: str, topic: str, moves: Any) -> None:
        import psycopg

        with psycopg.connect(connection.info.dsn, password=connection.info.password) as another:
            move(another, sink, topic, moves)

    positions.move = mutated


def _forget_the_epoch(tracker: ModuleType) -> None:
    fetched = tracker.Tracker.fetched

    def find(self: Any, ref: Any) -> Any:
        pending = self._pending.get(ref.tp)
        entries = pending.entries if pending is not None else ()
        return next((e for e in entries if (e.ref.first, e.ref.last) == (ref.first, ref.last)), None)

    def mutated(self: Any, tp: Any, _epoch: int, first: int, last: int) -> Any:
        return fetched(self, tp, self.epoch(tp), first, last)

    tracker.Tracker._find, tracker.Tracker.fetched = find, mutated


def _remember_no_verdict(contact_memory: ModuleType) -> None:
    contact_memory.ContactMemory.recall = lambda self, completion_id: None


def _remember_no_first(dedup: Any) -> None:
    put = dedup.Put
    dedup.Put = lambda table, key, _value: put(table, key, b"somebody")


def _keep_the_last_report(visit: ModuleType) -> None:
    visit.Visit.merge = lambda self, other: other


def _judge_answers_absolutely(baselines: ModuleType) -> None:
    baselines.Baselines.usual = lambda self, quiz_id, questions, only_measured=False: 0.0


def _reroute_what_is_called(router: Any) -> None:
    router.QUERIES = {
        name: text.replace("d.state = 'waiting'", "d.state IN ('waiting', 'leased', 'calling')")
        for name, text in router.QUERIES.items()
    }


def _fall_back_from_doubt(consequences: Any) -> None:
    consequence = consequences.consequence

    def mutated(attempt: Any, outcome: Any, *more: Any, **named: Any) -> Any:
        if isinstance(outcome, consequences.Ambiguous):
            outcome = consequences.Rejected(consequences.actions.FailRecipient(), "", "no answer")
        return consequence(attempt, outcome, *more, **named)

    consequences.consequence = mutated


def _give_each_number_its_own_budget(gate: ModuleType) -> None:
    find = gate.Gate._find

    async def mutated(self: Any, connection: Any, numbers: Sequence[str]) -> Any:
        found = []
        for one in await find(self, connection, numbers):
            own = f"portfolio:{one.number_id}"
            await connection.execute(
                "INSERT INTO budgets (budget_id, uses_max) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [own, one.uses_max],
            )
            found.append(one._replace(budget_id=own))
        return found

    gate.Gate._find = mutated


def _let_one_more_pass(budget: Any) -> None:
    budget.Budget.free = property(lambda self: max(0, self.limit + 1 - self.used))


def _forget_the_other_call(gate: Any) -> None:
    gate.QUERIES = {
        name: text.replace("WHERE g.counts AND u.attempt_id", "WHERE false AND u.attempt_id")
        for name, text in gate.QUERIES.items()
    }


def _route_what_has_changed(router: Any) -> None:
    router.QUERIES = {
        name: text.replace("d.route IS NOT DISTINCT FROM c.route AND d.channel = c.channel", "true")
        for name, text in router.QUERIES.items()
    }


def _end_no_lease_with_the_tenant(numbers: Any) -> None:
    numbers.QUERIES = {
        name: text.replace(
            "least(sender_numbers.leased_until, clock_timestamp())", "sender_numbers.leased_until"
        )
        for name, text in numbers.QUERIES.items()
    }


def _write_what_encoded_words_hide(letters: ModuleType) -> None:
    letters._ENCODED_WORD = "\0"  # type: ignore[attr-defined]


# Name -> the module that is broken once it is imported, and how.
MUTATIONS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "no-unique-key": ("sinks.postgres.tables.deliveries", _drop_the_unique_key),
    "no-calling-mark": ("sinks.delivery.ledger", _call_without_a_mark),
    "delivery-not-awaited": ("pipeline.engine.batch_producer", _await_no_delivery),
    "commit-before-write": ("sinks.postgres.offsets", _commit_before_the_write),
    "no-epoch-check": ("pipeline.engine.offset_tracker", _forget_the_epoch),
    "no-verdict-memory": ("pipeline.stages.contact_memory", _remember_no_verdict),
    "no-usual-answers": ("ingest_api.abuse.baselines", _judge_answers_absolutely),
    "no-dedup-value": ("pipeline.stages.dedup", _remember_no_first),
    "reroutes-a-calling-delivery": ("sinks.delivery.routing.router", _reroute_what_is_called),
    "falls-back-from-doubt": ("sinks.delivery.consequences", _fall_back_from_doubt),
    "no-visit-merge": ("sinks.visits.visit", _keep_the_last_report),
    "budget-not-shared": ("sinks.delivery.budget.gate", _give_each_number_its_own_budget),
    "budget-off-by-one": ("sinks.delivery.pacing.budget", _let_one_more_pass),
    "budget-forgets-the-other-call": ("sinks.delivery.budget.gate", _forget_the_other_call),
    "reroutes-what-has-changed": ("sinks.delivery.routing.router", _route_what_has_changed),
    "no-lease-ends-with-the-tenant": ("sinks.postgres.catalogue.numbers", _end_no_lease_with_the_tenant),
    "writes-what-encoded-words-hide": ("sinks.messaging.email.letters", _write_what_encoded_words_hide),
}


class _Breaker(importlib.abc.MetaPathFinder):
    """Finds the module as usual, and breaks it once it has run."""

    def __init__(self, name: str, break_it: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._break_it = break_it

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        run, break_it = spec.loader.exec_module, self._break_it

        def run_and_break(module: ModuleType) -> None:
            run(module)
            break_it(module)

        spec.loader.exec_module = run_and_break  # type: ignore[method-assign]
        return spec


wanted = os.environ.get(MUTATION)
if wanted and os.environ.get(ALLOWED) == "1":
    sys.meta_path.insert(0, _Breaker(*MUTATIONS[wanted]))

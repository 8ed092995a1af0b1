from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import Completion, Consent, Personal
from sinks.postgres.connect import connect
from sinks.postgres.sink import Arrival, Sink
from sinks.postgres.tables.completions import Completions
from sinks.postgres.tables.deliveries import Deliveries
from sinks.postgres.tables.outcomes import Outcomes
from tests.support.samples import NOW_MS, TODAY, completion, match, number, outcome
from tests.support.sinks import Corner

ROWS = "SELECT completion_id::text, day - DATE '1970-01-01', score FROM completions ORDER BY completion_id"
CONTACTS = "SELECT contact_id, name FROM contacts ORDER BY contact_id"


def tried_again(n: int) -> st.SearchStrategy[Completion]:
    """Completion n as a client may hand it in: today, tomorrow around midnight, or kept for days."""
    return st.builds(
        lambda day, score, seconds: completion(
            n, day=day, score=score, accepted_at=NOW_MS + seconds, contact_id=f"{n % 2}",
            personal=Personal(name=f"{seconds}"),
        ),
        st.sampled_from([TODAY, TODAY + 1, TODAY - 2, TODAY - 7]),
        st.integers(0, 5).map(float), st.integers(0, 3),
    )  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3).flatmap(tried_again), min_size=1, max_size=12), st.data())
def test_however_the_log_is_cut_and_repeated_the_rows_are_the_same(
    corner: Corner, log: list[Completion], data: st.DataObject
) -> None:
    """The tables are a function of the log: batches end anywhere, and begin again anywhere before."""
    corner.connection.execute("TRUNCATE completions, completions_apart, contacts")
    position = 0
    while position < len(log):
        start = data.draw(st.integers(0, position), label="from")
        position = data.draw(st.integers(position + 1, len(log)), label="to")
        corner.write(Completions(), log[start:position])

    first: dict[str, Completion] = {}
    newest: dict[str, Completion] = {}
    for event in log:
        if event.completion_id in first:
            continue  # a repeat: its content is not stated anew
        first[event.completion_id] = event
        known = newest.get(event.contact_id)
        if known is None or known.accepted_at < event.accepted_at:
            newest[event.contact_id] = event
    assert corner.rows(ROWS) == sorted((e.completion_id, e.day, e.score) for e in first.values())
    assert corner.rows(CONTACTS) == sorted((e.contact_id, e.personal.name) for e in newest.values())


def test_a_clock_that_was_ahead_stays_marked(corner: Corner) -> None:
    corner.write(Completions(), [completion(1), completion(2, clock_ahead_ms=360_000)])

    found = corner.rows("SELECT completion_id::text, clock_ahead_ms FROM completions ORDER BY 1")

    assert found == [(number(1), 0), (number(2), 360_000)]


def test_a_decision_about_messages_stays_with_its_completion(corner: Corner) -> None:
    yes, no = Consent(True, "whatsapp-pt-BR v3"), Consent(False, "whatsapp-pt-BR v3")
    corner.write(Completions(), [completion(1), completion(2, consent=yes), completion(3, consent=no)])

    found = corner.rows("SELECT consent_granted, consent_text FROM completions ORDER BY completion_id")

    assert found == [(None, None), (True, yes.text), (False, no.text)]


def test_a_verdict_is_stored_once_also_around_midnight(corner: Corner) -> None:
    first = outcome(1, verdict="limited", reason="contact")

    corner.write(Outcomes(), [first, outcome(2)])
    report = corner.write(Outcomes(), [first, outcome(1, day=TODAY + 1), outcome(1, verdict="matched")])

    assert (report.rows, report.repeats) == (0, 3)
    assert corner.rows("SELECT completion_id::text, verdict, reason FROM outcomes ORDER BY 1") == [
        (number(1), "limited", "contact"),
        (number(2), "unmatched", ""),
    ]


def test_two_sinks_that_meet_the_same_contacts_do_not_lock_each_other_out(corner: Corner) -> None:
    """Each batch touches all contacts, in another order and with a newer time than the one before."""
    corner.write(Completions(), [completion(0)])
    corner.write(Deliveries(), [match(0)])

    def work(sink: Sink[Any], seed: int) -> int:
        deadlocks = 0
        rng = random.Random(seed)
        with connect(corner.database_url, f"test {sink.name}") as connection:
            sink.prepare(connection)
            for turn in range(15):
                at = NOW_MS + 10 * turn + seed
                make = completion if sink.name == "completions" else match
                events = [make(n, accepted_at=at) for n in range(1, 60)]
                rng.shuffle(events)
                try:
                    with connection.transaction():
                        sink.write(connection, [Arrival(None, event) for event in events])  # type: ignore[arg-type]
                except psycopg.errors.DeadlockDetected:
                    deadlocks += 1
        return deadlocks

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, [Completions(), Deliveries()], [1, 2])) == [0, 0]

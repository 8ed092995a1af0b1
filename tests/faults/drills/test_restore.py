"""The database comes back from an older copy while the topics have gone on: nobody is written to again."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from sinks.postgres.restore.guard import PERMIT_S
from tests.support import database_copy
from tests.support.drill_people import COUNTED, Drill
from tests.support.running_pipeline import Pipeline, until

pytestmark = [pytest.mark.full, pytest.mark.timeout(900), pytest.mark.xdist_group("drills-restore")]


def permitted(pipeline: Pipeline) -> bool:
    return bool(
        pipeline.value(
            "SELECT sending_is_permitted() AND EXISTS (SELECT FROM sending_permit)"
            " AND NOT EXISTS (SELECT FROM sending_stops WHERE scope = 'recovery')"
        )
    )


def put_back(people: Drill) -> None:
    pipeline = people.pipeline
    database_copy.put_back(pipeline.found.settings.database_url, people.folder / "copy")
    until(lambda: _answers(pipeline) and permitted(pipeline), "the ledger has caught up", 120)


def _answers(pipeline: Pipeline) -> bool:
    import psycopg

    try:
        return bool(pipeline.value("SELECT true"))
    except psycopg.OperationalError:
        return False


def test_a_ledger_that_forgot_an_hour_learns_from_kafka_what_it_sent(people: Drill) -> None:
    """Given messages before and after the copy, a campaign made after it and one cancelled after it."""
    pipeline = people.pipeline
    people.campaign("cancelada", "verde")
    first = people.answer(40)
    people.settled()
    database_copy.take(pipeline.found.settings.database_url, people.folder / "copy")
    people.answer(60)
    people.again(first)
    people.campaign("nova", "roxo")
    people.answer(30, "roxo")
    cancelled = pipeline.quizstream("campaign", "cancel", "cancelada")
    assert cancelled.returncode == 0, cancelled.stderr
    before = people.settled()
    ledger = "SELECT delivery_id, state, attempts, attempt_id FROM deliveries ORDER BY 1"
    states = pipeline.rows(ledger)

    put_back(people)
    after = people.settled()

    assert [getattr(after, name) for name in COUNTED] == [getattr(before, name) for name in COUNTED]
    assert after.calls == before.calls == before.deliveries
    assert pipeline.rows(ledger) == states
    assert pipeline.value("SELECT cancelled_at IS NOT NULL FROM campaigns WHERE campaign_id = 'cancelada'")
    assert pipeline.value("SELECT count(*) FROM recovered_deliveries") == 0
    people.answer(5, "roxo")
    assert people.settled().sent == after.sent + 5  # sending goes on, with the campaign that was lost


def test_a_copy_that_comes_back_amid_calls_leaves_at_most_the_leased_in_doubt(people: Drill) -> None:
    pipeline, topology = people.pipeline, people.pipeline.found.topology
    before = people.settled()
    assert before.calls is not None
    database_copy.take(pipeline.found.settings.database_url, people.folder / "copy")
    people.answer(600)
    calls_before = before.calls
    until(lambda: len(pipeline.calls()) > calls_before + 150, "messages are being sent")

    put_back(people)
    undecided = "SELECT count(*) FROM deliveries WHERE state IN ('waiting', 'leased', 'calling', 'sent')"
    until(lambda: pipeline.value(undecided) == 0, "every delivery has its end", 120)

    taken = Counter(call["to"] for call in pipeline.calls()[calls_before:] if call["wamid"] is not None)
    assert set(taken.values()) == {1}
    numbers = pipeline.value("SELECT count(*) FROM sender_numbers WHERE tenant_id = 'demo-personalidade'")
    states = dict(pipeline.rows("SELECT state, count(*) FROM deliveries GROUP BY 1"))
    leased_max = 2 * numbers * (topology.sender.claim_batch_max + topology.sender.in_flight_max)
    assert states.get("ambiguous", 0) <= leased_max
    assert sum(states.values()) == before.deliveries + 600
    assert set(states) <= {"ambiguous", "delivered", "read"}


def test_a_copy_is_not_sent_from_before_anybody_has_verified_it(people: Drill) -> None:
    """However young the copy is: its permit is another database's."""
    pipeline = people.pipeline
    pipeline.settled()  # of calls that the copy before this one forgot, the books may still complain
    until(lambda: permitted(pipeline), "the ledger is looked after")
    pipeline.supervisor.pause("postgres-sink")
    assert permitted(pipeline)  # for PERMIT_S, so that a restart of the sinks holds nobody up
    database_copy.take(pipeline.found.settings.database_url, people.folder / "young")
    database_copy.put_back(pipeline.found.settings.database_url, people.folder / "young")
    until(lambda: _answers(pipeline), "the database is back")
    assert not permitted(pipeline)
    time.sleep(0.2)
    pipeline.supervisor.resume("postgres-sink")
    until(lambda: permitted(pipeline), f"verified, well within {PERMIT_S} s")

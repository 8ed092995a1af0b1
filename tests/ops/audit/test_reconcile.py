"""Real topics and tables are held against each other by id; what is taken out of any of them is missed."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console

from ops.audit.collect import AcceptedFileInvalid
from ops.audit.provider_record import Call
from ops.audit.reconcile import reconcile, rendered
from sinks.postgres.retention.enforce import BY_DAY
from tests.support.story import PHONE, Story


def test_a_whole_story_holds(story: Story, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.txt"
    accepted.write_text(f"{story.first}\n{story.second}\n")
    report = reconcile(story.found, accepted, wait_s=10)
    assert report.breaches == []
    assert report.ok
    assert (report.accepted, report.archived, report.matched, report.matches) == (2, 2, 2, 2)
    assert (report.deliveries, report.duplicates, report.delivered, report.calls) == (1, 1, 1, 1)
    console = Console(record=True, width=120)
    console.print(rendered(report))
    assert "matches 2 = deliveries 1 + duplicates 1" in console.export_text()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM completions WHERE completion_id = %s", "not in the table of completions"),
        ("DELETE FROM outcomes WHERE completion_id = %s", "not in the table of verdicts"),
        ("DELETE FROM deliveries WHERE completion_id = %s", "neither in the ledger nor among the duplicates"),
        ("UPDATE outcomes SET verdict = 'limited' WHERE completion_id = %s", "two different verdicts"),
        ("UPDATE deliveries SET state = 'waiting' WHERE completion_id = %s", "the ledger state is waiting"),
        (
            "INSERT INTO completions SELECT day + 1, completion_id, tenant_id, quiz_id, quiz_version,"
            " contact_id, submitted_at, accepted_at, answers FROM completions WHERE completion_id = %s",
            "two rows",
        ),
    ],
)
def test_a_row_that_is_gone_changed_or_there_twice_is_named(story: Story, statement: str, said: str) -> None:
    story.sql(statement, story.first)
    report = reconcile(story.found)
    named = {breach.what: breach.examples for breach in report.breaches}
    assert not report.ok
    (what,) = [what for what in named if said in what]
    assert any(story.first in example or story.delivery_id in example for example in named[what])


def test_a_second_call_to_the_same_person_is_twice_even_if_the_ledger_says_nothing_of_it(
    story: Story,
) -> None:
    story.record(Call(time.time(), "5511", PHONE.removeprefix("+"), story.attempt_id, "wamid.2", 200))
    report = reconcile(story.found)
    assert (report.twice, report.ok) == (1, False)
    assert report.breaches[0].examples == [story.delivery_id]


@pytest.mark.parametrize(("reported", "twice"), [(["failed"], 0), ([], 1), (["failed", "delivered"], 1)])
def test_a_call_that_was_taken_back_is_not_sent_only_by_the_word_of_the_provider(
    story: Story, reported: list[str], twice: int
) -> None:
    """The first call was taken back, the second one sent."""
    first = uuid4()
    story.sql(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, called_at, outcome,"
        " provider, provider_message_id) SELECT %s, delivery_id, number_id, 0, called_at, 'taken_back',"
        " provider, 'wamid.0' FROM delivery_attempts",
        str(first),
    )
    for status in reported:
        story.sql(
            "INSERT INTO provider_statuses (provider, provider_message_id, status, attempt_id, at)"
            f" SELECT provider_name(provider), 'wamid.0', '{status}', %s, now()"
            " FROM delivery_attempts LIMIT 1",
            str(first),
        )

    report = reconcile(story.found)

    assert report.twice == twice


def test_an_id_that_a_client_was_told_and_nobody_has_is_missing(story: Story, tmp_path: Path) -> None:
    accepted, lost = tmp_path / "accepted.txt", str(uuid4())
    accepted.write_text(f"{story.first}\n{lost}\n")
    report = reconcile(story.found, accepted)
    assert (report.missing, report.ok) == (1, False)
    assert report.breaches[0].examples == [lost]


def test_a_file_that_holds_no_ids_is_refused_by_its_line(story: Story, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.txt"
    accepted.write_text(f"{story.first}\nid\n")
    with pytest.raises(AcceptedFileInvalid, match="line 2 is not a completion id: 'id'"):
        reconcile(story.found, accepted)


def test_what_a_stage_has_not_passed_is_in_flight_and_a_wait_in_vain_is_a_breach(story: Story) -> None:
    story.produce("completions", b"somebody", b"no Avro")
    report = reconcile(story.found)
    assert (report.ok, report.in_flight) == (True, 1)

    waited = reconcile(story.found, wait_s=1.5)
    assert not waited.ok
    assert "1 records before qualify" in waited.breaches[-1].examples[0]

    story.everybody_has_read_everything()
    passed = reconcile(story.found)
    assert [breach.what for breach in passed.breaches] == ["an undecodable record has no dead letter"]


DROPPED_DAYS = (  # whose ledger is older than the archive; the tables in the order of retention
    "UPDATE deliveries SET completion_day = '2020-01-01'",
    *(f"DELETE FROM {table}" for table in BY_DAY),
)
ENDED_CAMPAIGN = (
    "INSERT INTO tenants SELECT DISTINCT tenant_id, '' FROM deliveries ON CONFLICT DO NOTHING",
    "INSERT INTO campaigns (campaign_id, tenant_id, month) SELECT campaign_id, tenant_id, campaign_month"
    " FROM deliveries ON CONFLICT DO NOTHING",
    "UPDATE campaigns SET ledger_deleted_at = now()",
    "DELETE FROM delivery_attempts",
    "DELETE FROM deliveries",
)


@pytest.mark.parametrize("deleted", [DROPPED_DAYS, ENDED_CAMPAIGN], ids=["days", "campaign"])
def test_what_retention_has_deleted_is_no_breach(story: Story, deleted: tuple[str, ...]) -> None:
    """Given a story so old that the topics and the provider's record have nothing of it any more."""
    story.forget_topics()
    (story.found.settings.home / "simulator" / "calls.jsonl").unlink()
    for done, statement in enumerate(deleted):
        story.sql(statement)
        if deleted is DROPPED_DAYS and done > 0:  # each day and table is a transaction of its own
            assert reconcile(story.found).breaches == [], statement
    report = reconcile(story.found)
    assert report.breaches == []


def test_what_is_deleted_without_retention_is_a_breach_also_when_the_topics_are_empty(story: Story) -> None:
    story.forget_topics()
    story.sql("DELETE FROM deliveries")
    assert not reconcile(story.found).ok


def test_a_number_that_was_at_a_real_provider_when_it_called_needs_no_record_there(story: Story) -> None:
    (story.found.settings.home / "simulator" / "calls.jsonl").write_text("")
    moved = (
        "INSERT INTO audit_log (at, actor, action, subject, detail)"
        " VALUES (%s, 'a', 'number.add', '5511', %s)"
    )
    simulator = story.found.settings.simulator_url
    story.sql("UPDATE delivery_attempts SET called_at = '2026-05-01T12:00:00Z'")
    story.sql(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES ('5511', '*', 'meta-cloud', %s, 'TOKEN')",
        simulator,
    )
    assert [breach.kind for breach in reconcile(story.found).breaches] == ["unexplained"]
    story.sql(moved, "2026-05-01T11:00:00Z", '{"base_url": "https://graph.example"}')
    story.sql(moved, "2026-05-01T13:00:00Z", f'{{"base_url": "{simulator}"}}')
    report = reconcile(story.found)
    assert report.breaches == []
    assert (report.unrecorded, report.calls) == (1, 0)

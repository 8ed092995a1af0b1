"""Dead letters on the whole pipeline: looked at, sent once more, and nothing happens twice by it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from ops.dead_letters import redrive as work
from ops.dead_letters.letters import Which
from ops.embedded.stack import ServerUrls
from pipeline.runtime.topic_reader import TopicScan
from sinks.postgres.connect import connect
from sinks.postgres.tables.dead_letter_retention import DeadLetterRetention
from tests.support.producer import delivered, make_producer
from tests.support.quick_topology import quick_text
from tests.support.running_pipeline import Pipeline, running_pipeline, until

pytestmark = pytest.mark.xdist_group("dead-letters")

BATCH = 3  # records a step, so that few make several
QUIZ = "letras-mortas"
CAMPAIGN = """
campaign_id: letras-mortas-todos
tenant_id: demo-personalidade
name: Todos
quiz_ids: [letras-mortas]
message:
  kind: text
  text: 'Obrigado! {dito}'
  variables: [{name: dito, source: answers.dito, fallback: nada}]
"""
LONG = "muito " * 200
NUMBERS = ("551150010003", "551150010004")  # of the demo's tenant


def topology_with(home: Path, **record_bytes_max: int) -> None:
    text = quick_text().replace("redrive_batch_max: 500", f"redrive_batch_max: {BATCH}")
    for role, bytes_max in record_bytes_max.items():
        start = f"  {role}:\n"
        assert text.count(start) >= 1
        text = text.replace(start, f"{start}    record_bytes_max: {bytes_max}\n", 1)
    (home / "topology.yaml").write_text(text)


@pytest.fixture(scope="module")
def pipeline(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "logs").mkdir()
    topology_with(home)
    env = {"QUIZSTREAM_TOPOLOGY": str(home / "topology.yaml")}
    with running_pipeline(stack, home, f"d{time.time_ns() % 10**9}.", env) as running:
        header = home / "cabecalho.csv"
        header.write_text("dito\n")
        done = running.quizstream("replay", str(header), "--quiz", QUIZ, "--tenant", "demo-personalidade")
        assert done.returncode == 0, done.stderr
        (home / "todos.yaml").write_text(CAMPAIGN)
        saved = running.quizstream("campaign", "save", str(home / "todos.yaml"), "--json")
        assert saved.returncode == 0, saved.stderr
        effective_at_ms = msgspec.json.decode(saved.stdout)[0]["effective_at"]
        time.sleep(max(0.0, effective_at_ms / 1000 + 0.2 - time.time()))
        yield running


def writes(pipeline: Pipeline, phone: str) -> None:
    """To every number of the tenant: the answer may then be a free text, as long as what was said."""
    for number in NUMBERS:
        body = json.dumps({"number": number, "sender": phone, "text": "oi"}).encode()
        url = f"{pipeline.found.settings.simulator_url}/simulator/inbound"
        urllib.request.urlopen(urllib.request.Request(url, body)).close()


def post(pipeline: Pipeline, key: str, said: str, phone: str) -> str:
    writes(pipeline, phone)
    url = f"{pipeline.found.settings.edge_url}/quiz/{QUIZ}/completions"
    body = json.dumps({"answers": {"dito": said}, "contact": {"phone": phone, "name": "Maria Segredo"}})
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers)) as reply:
        return str(json.loads(reply.read())["completion_id"])


def by_hand(pipeline: Pipeline, role: str, key: bytes | None, *values: bytes | None) -> None:
    """Records without sense, in the last partition."""
    topic = pipeline.found.topology.topic(role)
    producer = make_producer(pipeline.found.settings.kafka_bootstrap_servers)
    for value in values:
        producer.produce(topic.name, value, key, topic.partitions - 1)
    delivered(producer)


def execute(pipeline: Pipeline, statement: str) -> None:
    with psycopg.connect(pipeline.found.settings.database_url) as connection:
        connection.execute(statement.encode())


def records(pipeline: Pipeline, role: str, holds: Callable[[bytes | None], bool]) -> int:
    bootstrap = pipeline.found.settings.kafka_bootstrap_servers
    scan = TopicScan(bootstrap, pipeline.found.topology.topic(role))
    return sum(holds(record.value) for record in scan.records())


def listed(pipeline: Pipeline, *options: str) -> dict[str, Any]:
    done = pipeline.quizstream("dead-letters", "list", "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def redriven(pipeline: Pipeline, *options: str, exit_code: int = 0) -> dict[str, Any]:
    done = pipeline.quizstream("dead-letters", "redrive", "--json", *options)
    assert done.returncode == exit_code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_completion_that_died_in_a_stage_is_judged_once_and_written_to_once_after_its_redrive(
    pipeline: Pipeline,
) -> None:
    home = pipeline.found.settings.home
    before = pipeline.settled()
    topology_with(home, matches=1_100)  # with what Kafka adds, no room for what this contact says
    pipeline.kill("worker")
    pipeline.all_ready()
    completion_id = post(pipeline, "long", LONG, "+5511987650001")
    dead = pipeline.settled()
    assert dead.ok, dead.breaches
    assert (dead.dead - before.dead, dead.accepted - before.accepted) == (1, 1), (before, dead)

    topology_with(home)
    pipeline.kill("worker")
    pipeline.all_ready()
    (letter,) = listed(pipeline, "--reason", "outputtoolarge")["letters"]
    assert (letter["stage"], letter["completion_id"], letter["attempts"]) == ("qualify", completion_id, 1)
    told = pipeline.quizstream("dead-letters", "show", letter["dead_letter_id"], "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["record"]["phone"] == "+55…01"
    assert "87650001" not in told.stdout
    assert "Segredo" not in told.stdout
    assert "muito" not in told.stdout
    revealed = pipeline.quizstream("dead-letters", "show", letter["dead_letter_id"], "--json", "--reveal")
    assert json.loads(revealed.stdout)["record"]["personal"]["name"] == "Maria Segredo"
    audited = "SELECT count(*) FROM audit_log WHERE action = 'dead_letter.reveal' AND subject = %s"
    assert pipeline.value(audited, letter["dead_letter_id"]) == 1
    assert redriven(pipeline, "--reason", "outputtoolarge")["redriven"] == 1
    audited = "SELECT detail->>'records' FROM audit_log WHERE action = 'dead_letter.redrive'"
    assert pipeline.rows(audited) == [("1",)]
    after = pipeline.settled()

    assert after.ok, after.breaches
    assert (after.dead, after.accepted) == (before.dead, dead.accepted)
    assert (after.matched - before.matched, after.deliveries - before.deliveries) == (1, 1)
    state = "SELECT state FROM deliveries WHERE completion_id = %s"
    until(lambda: pipeline.value(state, completion_id) in ("sent", "delivered", "read"), "it is sent")

    # A redrive that broke off between sending and marking sends again; then everything is read again.
    execute(pipeline, "UPDATE dead_letters SET redriven_at = NULL")
    assert redriven(pipeline, "--id", letter["dead_letter_id"])["redriven"] == 1
    pipeline.rewind_everything()
    again = pipeline.settled()
    assert again.ok, again.breaches
    counted = ("accepted", "archived", "limited", "unmatched", "matched", "deliveries", "dead")
    assert [getattr(again, name) for name in counted] == [getattr(after, name) for name in counted]
    calls = "SELECT attempts FROM deliveries WHERE completion_id = %s"
    assert pipeline.rows(calls, completion_id) == [(1,)]


def test_what_the_archive_refused_is_archived_after_its_redrive_and_the_stages_say_nothing_new(
    pipeline: Pipeline,
) -> None:
    check = "CHECK (answers ->> 'dito' <> 'recusado') NOT VALID"
    execute(pipeline, f"ALTER TABLE completions ADD CONSTRAINT no_such {check}")
    completion_id = post(pipeline, "refused", "recusado", "+5511987650002")
    refused = pipeline.settled()
    assert refused.ok, refused.breaches
    archived = "SELECT count(*) FROM completions WHERE completion_id = %s"
    assert pipeline.value(archived, completion_id) == 0
    execute(pipeline, "ALTER TABLE completions DROP CONSTRAINT no_such")

    done = redriven(pipeline, "--stage", "sink:completions")

    after = pipeline.settled()
    assert after.ok, after.breaches
    assert (done["redriven"], done["records"]) == (1, 1)
    assert pipeline.value(archived, completion_id) == 1
    same = ("accepted", "matched", "matches", "deliveries", "duplicates", "calls")
    assert [getattr(after, name) for name in same] == [getattr(refused, name) for name in same]
    assert after.archived == refused.archived + 1


def test_what_dies_each_time_counts_its_attempts_and_ends_in_quarantine(pipeline: Pipeline) -> None:
    before = pipeline.settled()
    by_hand(pipeline, "completions", b"somebody", b"call +55 11 98765-4321, no Avro", None)
    dead = pipeline.settled()
    assert dead.ok, dead.breaches
    letters = listed(pipeline, "--topic", "completions")["letters"]
    assert {letter["stage"] for letter in letters} == {"qualify", "sink:completions"}
    shown = [pipeline.quizstream("dead-letters", "show", each["dead_letter_id"]).stdout for each in letters]
    assert not any("no Avro" in one or "98765" in one or "somebody" in one for one in shown)
    assert sum("--reveal" in one for one in shown) == 2
    revealed = [
        pipeline.quizstream("dead-letters", "show", each["dead_letter_id"], "--reveal").stdout
        for each in letters
    ]
    assert sum("call +55 11 98765-4321, no Avro" in one and "somebody" in one for one in revealed) == 2
    doctor = pipeline.quizstream("doctor", "--json")
    (found,) = [each for each in json.loads(doctor.stdout) if each["name"] == "dead letters"]
    assert (found["ok"], found["warning"]) == (True, True)
    assert found["detail"].startswith("4 are open, the newest of ")
    assert found["remedy"] == "see `quizstream dead-letters list`"
    dry = redriven(pipeline, "--all", "--dry-run")
    assert (dry["total"], len(listed(pipeline)["letters"])) == (4, 4)

    redrives_max = pipeline.found.topology.dead_letters.redrives_max
    for attempts in range(1, redrives_max + 1):
        done = redriven(pipeline, "--all")
        assert (done["redriven"], done["records"], done["left"]) == (4, 2, {})
        report = pipeline.settled()
        assert report.ok, report.breaches
        assert (report.accepted, report.dead) == (dead.accepted, dead.dead)
        found = listed(pipeline)
        assert {each["attempts"] for each in found["letters"]} == {attempts + 1}
    done = redriven(pipeline, "--all", exit_code=1)
    assert (done["redriven"], done["quarantined"]) == (0, 4)
    assert listed(pipeline)["total"] == 0
    assert listed(pipeline, "--state", "quarantined")["total"] == 4
    last = listed(pipeline, "--state", "quarantined")["letters"][0]["dead_letter_id"]
    history = json.loads(pipeline.quizstream("dead-letters", "show", last, "--json").stdout)["before"]
    assert len(history) == redrives_max
    assert pipeline.settled().accepted - before.accepted == 2

    insisted = redriven(pipeline, "--quarantined", "--all")
    assert insisted["records"] == 2
    assert pipeline.settled().ok


def test_a_redrive_that_is_broken_off_goes_on_where_it_was(pipeline: Pipeline) -> None:
    junk = [b"broken off %d" % number for number in range(3 * BATCH)]
    by_hand(pipeline, "matches", b"x", *junk)
    assert pipeline.settled().ok
    which = Which(topic="matches")

    class Broken(Exception):
        pass

    def broken(_done: int, _all: int) -> None:
        raise Broken

    with pytest.raises(Broken):
        work.redrive(pipeline.found, "ada", which, progress=broken)
    first = records(pipeline, "matches", lambda value: value in junk)
    assert first == len(junk) + BATCH
    rest = work.redrive(pipeline.found, "bob", Which(topic="matches", until=None), limit=2 * BATCH)
    pipeline.settled()
    audited = (
        "SELECT actor, (detail->>'records')::int FROM audit_log"
        " WHERE action = 'dead_letter.redrive' AND detail->>'topic' = 'matches' ORDER BY audit_id"
    )
    assert pipeline.rows(audited) == [("ada", BATCH), ("bob", BATCH), ("bob", BATCH)]

    assert rest.records == 2 * BATCH
    assert records(pipeline, "matches", lambda value: value in junk) == 2 * len(junk)
    attempts = pipeline.rows(
        "SELECT attempts, count(*) FROM dead_letters WHERE stage = 'dedup' GROUP BY 1 ORDER BY 1"
    )
    assert attempts == [(1, len(junk)), (2, len(junk))]


def test_an_erased_letter_says_so_and_is_redriven_only_while_its_topic_has_the_record(
    pipeline: Pipeline,
) -> None:
    said = b"erased after seven days"
    by_hand(pipeline, "matches", b"x", said)
    assert pipeline.settled().ok
    (letter,) = listed(pipeline, "--topic", "matches", "--limit", "1")["letters"]
    assert letter["erased"] is False
    chosen = f"dead_letter_id = '{letter['dead_letter_id']}'"
    execute(pipeline, f"UPDATE dead_letters SET failed_at = now() - interval '8 days' WHERE {chosen}")
    with connect(pipeline.found.settings.database_url, "test") as connection:
        DeadLetterRetention(pipeline.found.topology.dead_letters).enforce(connection)

    done = pipeline.quizstream("dead-letters", "show", letter["dead_letter_id"], "--json")
    assert "after 168 h" in json.loads(done.stdout)["record"]["erased"]
    assert b"seven" not in done.stdout.encode()
    (letter,) = listed(pipeline, "--id", letter["dead_letter_id"])["letters"]
    assert letter["erased"] is True
    assert pipeline.settled().ok

    assert redriven(pipeline, "--id", letter["dead_letter_id"])["records"] == 1
    assert records(pipeline, "matches", lambda value: value == said) == 2
    execute(pipeline, f"UPDATE dead_letters SET redriven_at = NULL, source_offset = 1000000 WHERE {chosen}")
    gone = redriven(pipeline, "--id", letter["dead_letter_id"], exit_code=1)
    assert gone["left"] == {
        "its record was erased after 168 h and is no longer in its topic; it cannot be redriven": 1
    }


def test_a_command_that_chooses_nothing_or_what_is_no_topic_is_refused_in_words(pipeline: Pipeline) -> None:
    nothing = pipeline.quizstream("dead-letters", "redrive")
    assert nothing.returncode == 2
    assert "--all" in nothing.stderr
    stranger = pipeline.quizstream("dead-letters", "list", "--topic", "elsewhere")
    assert (stranger.returncode, stranger.stderr.splitlines()[0][:30]) == (
        2,
        "quizstream: no topic 'elsewher",
    )
    absent = pipeline.quizstream("dead-letters", "show", "00000000-0000-5000-8000-000000000000")
    assert absent.returncode == 1

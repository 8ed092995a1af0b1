"""What the project has never seen: a stranger's table, and records and requests that are none."""

from __future__ import annotations

import csv
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.producer import delivered, make_producer
from tests.support.running_pipeline import Pipeline

pytestmark = pytest.mark.xdist_group("acceptance")


def test_a_table_of_a_hundred_columns_with_names_in_any_script_gaps_and_bad_rows(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    path, accepted = tmp_path / "pesquisa de opinião.csv", tmp_path / "accepted.txt"
    names = ["Opinião, geral", "年齢", "telefone", *(f"item {n}" for n in range(97))]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerow(["Gostei, muito\nmesmo", 31, "+55 11 98765-1001", *range(97)])
        writer.writerow(["", "NA", "(11) 98765-1002", *[""] * 96, "último"])
        file.write("uma linha curta\n")
        writer.writerow(["ok", 40, "123", *range(97)])
        writer.writerow(["ok", 41, "11987651003", *range(97)])

    done = pipeline.quizstream(
        *("replay", str(path), "--quiz", "pesquisa", "--contact-column", "telefone"),
        *("--accepted-out", str(accepted), "--json"),
    )

    assert done.returncode == 1
    counts = json.loads(done.stdout)
    assert (counts["rows"], counts["accepted"], counts["rejected"]) == (5, 3, 2)
    refused = sorted(line for line in done.stderr.splitlines() if line.startswith("line "))
    assert [line.split(":")[0] for line in refused] == ["line 5", "line 6"]
    assert "has 1 cells, the header has 100" in refused[0]
    report = pipeline.settled(accepted)
    assert report.ok, report.breaches
    stored = [
        answers
        for (answers,) in pipeline.rows(
            "SELECT answers FROM completions WHERE quiz_id = 'pesquisa' ORDER BY answers ->> '年齢'"
        )
    ]
    assert stored[0]["Opinião, geral"] == "Gostei, muito\nmesmo"
    assert stored[0]["item 96"] == 96
    assert stored[2] == {"item 96": "último"}


def test_what_cannot_be_decoded_becomes_a_dead_letter_and_the_rest_goes_on(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    before = pipeline.settled()
    settings, topic = pipeline.found.settings, pipeline.found.topology.topic("completions")
    producer = make_producer(settings.kafka_bootstrap_servers)
    for partition in range(topic.partitions):
        producer.produce(topic.name, b"by hand, no Avro", b"somebody", partition)
    delivered(producer)
    path = tmp_path / "depois.csv"
    path.write_text("cor\n" + "azul\n" * 50)
    assert pipeline.quizstream("replay", str(path), "--quiz", "depois-do-lixo").returncode == 0

    report = pipeline.settled()

    assert report.ok, report.breaches
    assert report.dead - before.dead == topic.partitions
    assert report.unmatched - before.unmatched == 50
    assert report.accepted == report.limited + report.unmatched + report.matched + report.dead
    letters = "SELECT DISTINCT stage FROM dead_letters WHERE value = %s"
    assert len(pipeline.rows(letters, b"by hand, no Avro")) == 2  # the stream's and the archive's


@pytest.mark.parametrize(
    ("quiz", "body", "status"),
    [
        ("bfi", b"{", 400),
        ("bfi", b"x" * 100_000, 413),
        ("nobody-made-this", b'{"answers": {}}', 404),
        ("bfi", b'{"answers": {"A1": 2}, "contact": {"phone": "12"}}', 422),
        ("bfi", b'{"answers": {"A1": {"not": "an answer"}}}', 422),
        ("bfi", b'{"answers": {"A1": 2}, "submitted_at": "2016-01-01T00:00:00Z"}', 422),
    ],
)
def test_a_bad_request_is_refused_in_words(pipeline: Pipeline, quiz: str, body: bytes, status: int) -> None:
    url = f"{pipeline.found.settings.edge_url}/quiz/{quiz}/completions"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == status
    problem = json.loads(refused.value.read())
    assert refused.value.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["detail"] or problem["title"]

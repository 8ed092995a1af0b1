"""Whatever is killed in the middle of a replay, the ledger holds."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.support.running_pipeline import Pipeline, until

pytestmark = pytest.mark.xdist_group("acceptance")

ROWS = 800
RATE_PER_S = 150
CAMPAIGN = """
campaign_id: mortes-todos
tenant_id: demo-personalidade
name: Todos
quiz_ids: [mortes]
message: {kind: template, template: obrigado, language: pt_BR}
"""


def test_kill_9_of_every_process_in_the_middle_of_a_replay(pipeline: Pipeline, tmp_path: Path) -> None:
    header_only, people = tmp_path / "cabecalho.csv", tmp_path / "mortes.csv"
    header_only.write_text("cor\n")
    people.write_text("cor\n" + "azul\n" * ROWS)
    pipeline.quizstream("replay", str(header_only), "--quiz", "mortes", "--tenant", "demo-personalidade")
    (tmp_path / "todos.yaml").write_text(CAMPAIGN)
    saved = pipeline.quizstream("campaign", "save", str(tmp_path / "todos.yaml"), "--json")
    assert saved.returncode == 0, saved.stderr
    effective_at_ms = msgspec.json.decode(saved.stdout)[0]["effective_at"]
    time.sleep(max(0.0, effective_at_ms / 1000 + 0.2 - time.time()))
    ambiguous_before = pipeline.value("SELECT count(*) FROM deliveries WHERE state = 'ambiguous'")
    calls_before = len(pipeline.calls())

    accepted = tmp_path / "accepted.txt"
    accepted.touch()
    options = ("--quiz", "mortes", "--rate", str(RATE_PER_S), "--accepted-out", str(accepted))
    replaying = pipeline.start("replay", str(people), *options)
    in_flight = 0
    for number, name in enumerate(
        ("whatsapp-sender", "worker", "edge", "postgres-sink", "whatsapp-sender"), 1
    ):
        wanted = ROWS // 8 * number
        until(partial(more_than, accepted, wanted), f"{wanted} are accepted")
        if name == "whatsapp-sender":
            until(lambda: len(pipeline.calls()) > calls_before, "messages are being sent")
            in_flight += in_flight_at_most(pipeline)
        pipeline.kill(name)
    _, errors = replaying.communicate(timeout=120)
    assert replaying.returncode == 0, errors
    pipeline.all_ready()
    report = pipeline.settled(accepted)

    assert report.ok, report.breaches
    assert len(set(accepted.read_text().split())) == ROWS
    delivered = "SELECT count(*) FROM deliveries WHERE campaign_id = 'mortes-todos' AND state <> 'ambiguous'"
    assert report.ambiguous - ambiguous_before <= in_flight
    assert pipeline.value(delivered) >= ROWS - in_flight


def more_than(accepted: Path, wanted: int) -> bool:
    return len(accepted.read_text().split()) > wanted


def in_flight_at_most(pipeline: Pipeline) -> int:
    """Calls that the sending numbers of the tenant may have begun and not ended."""
    numbers = pipeline.value("SELECT count(*) FROM sender_numbers WHERE tenant_id = 'demo-personalidade'")
    return int(numbers) * pipeline.found.topology.sender.in_flight_max

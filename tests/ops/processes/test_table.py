"""The supervisor's processes: one edge as ever, or several, each with a number and an address of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from ops import state_file
from ops.deployment.doctor import edges_of
from ops.embedded.home import Home
from ops.monitoring import targets
from ops.processes import table
from ops.processes.process_state import Processes, ProcessState, State
from pipeline.errors import CannotStart
from pipeline.runtime.ports import EDGE_ID, EDGES_MAX
from pipeline.runtime.settings import Settings
from tests.support.promtool import require_promtool


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"QUIZSTREAM_HOME": str(tmp_path), "QUIZSTREAM_PORT_BASE": "21000"})


def test_an_only_edge_has_no_number_and_is_asked_at_the_address_of_clients(settings: Settings) -> None:
    specs = {spec.name: spec for spec in table.specs(settings, {"A": "b"})}
    assert list(specs) == list(table.NAMES)
    assert dict(specs["edge"].env) == {"A": "b"}
    assert specs["edge"].ready == "http://127.0.0.1:21000/health/ready"


def test_each_of_several_edges_has_a_number_and_is_asked_at_its_own_address(settings: Settings) -> None:
    specs = {spec.name: spec for spec in table.specs(settings, {"A": "b"}, edges=3)}
    assert list(specs) == ["edge", "edge-1", "edge-2", *table.NAMES[1:]]
    for number, name in enumerate(("edge", "edge-1", "edge-2")):
        assert dict(specs[name].env) == {"A": "b", EDGE_ID: str(number)}
        assert specs[name].argv == specs["edge"].argv
        assert specs[name].ready == f"http://127.0.0.1:{21060 + number}/health/ready"
        assert specs[name].niceness == 0
    assert EDGE_ID not in specs["worker"].env


@pytest.mark.parametrize("edges", [0, -1, EDGES_MAX + 1])
def test_a_number_of_edges_that_no_host_can_have_is_refused(settings: Settings, edges: int) -> None:
    with pytest.raises(CannotStart, match="edge"):
        table.specs(settings, {}, edges)


def test_doctor_knows_the_number_of_edges_from_the_state_file(settings: Settings) -> None:
    home = Home(settings.home)
    assert edges_of(settings) == 1
    ready = ProcessState(State.READY, 1, 0)
    state_file.write(home.state_file, Processes(1, dict.fromkeys(("edge", "edge-1", "worker"), ready)))
    assert edges_of(settings) == 2
    home.state_file.write_text("{")
    assert edges_of(settings) == 1


def test_prometheus_finds_each_edge_and_every_other_process(settings: Settings) -> None:
    file = settings.home / "targets.json"
    targets.write(file, settings, 3)
    found = [(one["labels"]["process"], *one["targets"]) for one in json.loads(file.read_text())]
    assert found == [
        *(("edge", f"127.0.0.1:{port}") for port in (21060, 21061, 21062)),
        ("tenants", "127.0.0.1:21002"),
        ("worker", "127.0.0.1:21020"),
        ("postgres-sink", "127.0.0.1:21021"),
        ("simulator", "127.0.0.1:21010"),
        ("whatsapp-sender", "127.0.0.1:21022"),
        ("webhook-sender", "127.0.0.1:21024"),
        ("supervisor", "127.0.0.1:21023"),
    ]
    alone = targets.targets(settings, 1)
    assert alone[0] == {"targets": ["127.0.0.1:21000"], "labels": {"process": "edge"}}


def test_prometheus_itself_reads_the_file(settings: Settings) -> None:
    file = settings.home / "targets.json"
    targets.write(file, settings, 2)
    job = {"job_name": "quizstream", "file_sd_configs": [{"files": [str(file)]}]}
    config = settings.home / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    checked = subprocess.run([require_promtool(), "check", "config", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr

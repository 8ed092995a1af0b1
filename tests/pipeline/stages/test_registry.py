"""The stages of topology.yaml run in its order; names without code are errors of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.campaigns.registry import CampaignBook, Campaigns
from pipeline.stages.contact_memory import Allowed
from pipeline.stages.limit import Limited
from pipeline.stages.registry import STEPS, stage_of
from pipeline.topology.errors import TopologyError
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from pipeline.worker import stage_agents
from schemas.codec import codec
from schemas.records import Completion
from tests.support.stage_events import campaign, completion, record
from tests.support.stage_log import StageLog

FILE = Path(__file__).resolve().parents[3] / "topology.yaml"
QUALIFY = "stages: [limit, match]"


def topology_with(folder: Path, stages: str) -> Topology:
    copy = folder / "topology.yaml"
    text = FILE.read_text()
    assert text.count(QUALIFY) == 1
    copy.write_text(text.replace(QUALIFY, f"stages: {stages}"))
    return load(copy)


def campaigns() -> Campaigns:
    book = CampaignBook(now_ms=lambda: 0)
    book.apply(campaign("everybody"))
    return book.snapshot()


def limit_low_scores(
    completion: Completion, allowed: Sequence[Allowed], campaigns: Campaigns
) -> Limited | None:
    return Limited("score") if completion.score == 1.0 else None


def test_a_stage_that_is_added_to_the_file_runs(tmp_path: Path) -> None:
    topology = topology_with(tmp_path, "[limit, score, match]")
    steps = {**STEPS, "score": lambda _topology: limit_low_scores}
    log = StageLog(stage_of(topology, topology.agent("qualify"), campaigns, steps))

    log.run([record(completion(1, score=1.0), 0), record(completion(2, score=2.0), 1)])

    outcomes = [codec("outcome").decode(output.value) for output in log.to("quiz.outcomes.v1")]
    assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [
        ("limited", "score"),
        ("matched", ""),
    ]


def test_a_stage_that_is_left_out_does_not_run(tmp_path: Path) -> None:
    topology = topology_with(tmp_path, "[limit]")
    log = StageLog(stage_of(topology, topology.agent("qualify"), campaigns))

    log.run([record(completion(1), 0)])

    [outcome] = [codec("outcome").decode(output.value) for output in log.to("quiz.outcomes.v1")]
    assert outcome.verdict == "unmatched"
    assert log.to("campaign.matches.v1") == []


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ("[limit, lottery, match]", 'no stage "lottery"; there are dedup, limit, match'),
        ("[limit, dedup]", '"dedup" must be the only stage of its agent'),
        ("[match, limit]", '"match" must be the last: it decides every completion'),
    ],
)
def test_stages_that_cannot_run_are_errors_of_the_file(tmp_path: Path, stages: str, problem: str) -> None:
    topology = topology_with(tmp_path, stages)

    with pytest.raises(TopologyError) as failed:
        stage_agents(topology, campaigns)

    assert str(failed.value) == f"topology.yaml: agents.qualify.stages: {problem}"


def test_the_file_of_the_project_has_code_for_every_stage() -> None:
    agents = stage_agents(load(FILE), campaigns)

    assert [agent.stage.name for agent in agents] == ["qualify", "dedup"]

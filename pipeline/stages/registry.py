"""The stages that `agents.*.stages` of topology.yaml may name, and how a list of names becomes one stage.

Two kinds, which cannot be mixed in one agent:

- Steps (`STEPS`) decide about one completion. An agent may have any number of them, in the order of the file;
  together they are one `Qualify`, with one decode of each record and one read of the contacts' memories.
- Whole stages (`STAGES`) take a batch of records. An agent has one of them, alone.

To add a step: write it in a module of this package (`pipeline.stages.step` has the contract), name it here,
and add the name to an agent's `stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.campaigns.registry import Campaigns
from pipeline.stages import dedup, qualify
from pipeline.stages.contract import Stage
from pipeline.stages.limit import LimitStep
from pipeline.stages.match import MatchStep
from pipeline.stages.step import Step
from pipeline.topology.errors import TopologyError
from pipeline.topology.model import Agent, Topology


def _dedup(topology: Topology, agent: Agent) -> Stage:
    return dedup.Dedup(
        dedup.Wiring(
            deliveries_topic=topology.topic("deliveries").name,
            duplicates_topic=topology.topic("duplicates").name,
            table=_only_table(agent),
        )
    )


STEPS: Mapping[str, Callable[[Topology], Step]] = {
    "limit": lambda topology: LimitStep(topology.windows),
    "match": lambda _topology: MatchStep(),
}
LAST = "match"  # decides every completion: a step after it would never run
STAGES: Mapping[str, Callable[[Topology, Agent], Stage]] = {"dedup": _dedup}


def stage_of(
    topology: Topology,
    agent: Agent,
    campaigns: Callable[[], Campaigns],
    steps: Mapping[str, Callable[[Topology], Step]] = STEPS,
) -> Stage:
    """The agent's stages as one stage. `campaigns` returns the campaigns known now.

    Raises TopologyError for an unknown name, a whole stage beside others, a step that would never run, and an
    agent that has not exactly one table.
    """
    place = f"topology.yaml: agents.{agent.name}.stages"
    for name in agent.stages:
        if name not in steps and name not in STAGES:
            known = ", ".join(sorted({*steps, *STAGES}))
            raise TopologyError(f'{place}: no stage "{name}"; there are {known}')
        if name in STAGES and len(agent.stages) > 1:
            raise TopologyError(f'{place}: "{name}" must be the only stage of its agent')
    if LAST in agent.stages[:-1]:
        raise TopologyError(f'{place}: "{LAST}" must be the last: it decides every completion')
    if agent.stages[0] in STAGES:
        return STAGES[agent.stages[0]](topology, agent)
    wiring = qualify.Wiring(
        outcomes_topic=topology.topic("outcomes").name,
        matches_topic=topology.topic("matches").name,
        table=_only_table(agent),
        windows=topology.windows,
    )
    return qualify.Qualify(wiring, campaigns, [steps[name](topology) for name in agent.stages])


def _only_table(agent: Agent) -> str:
    if len(agent.tables) != 1:
        raise TopologyError(f"topology.yaml: agents.{agent.name}.tables: {len(agent.tables)}, it needs one")
    return agent.tables[0].name

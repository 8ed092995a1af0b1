"""The stream's process: wires topology, reference data, stages and runner.

Reference data is read to its end before the group is joined, so that no completion is judged without the
campaigns that were there before it; afterwards a thread follows it. Where it cannot be read the process ends,
and its supervisor starts it again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from pipeline.campaigns.registry import CampaignBook, Campaigns
from pipeline.engine.app import Deliveries, StageAgent, StreamApp, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.chunk import ChunkLimits
from pipeline.errors import CannotStart, OperatorError
from pipeline.runtime.clock import now_ms
from pipeline.runtime.dead_letters import dead_letter, dead_letter_output
from pipeline.runtime.health import Observed, Readiness, serve
from pipeline.runtime.kafka_clients import RECORD_OVERHEAD_BYTES
from pipeline.runtime.record import Output, Poison
from pipeline.runtime.reference_data import ReferenceDataFollower
from pipeline.runtime.settings import Settings
from pipeline.stages.registry import stage_of
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from schemas.records import Campaign, Quiz

log = logging.getLogger(__name__)

WORKER_ID = "QUIZSTREAM_WORKER_ID"  # distinguishes workers of one host: a number each, from 0
REFERENCE_DATA_TIMEOUT_S = 60.0
CANNOT_START = 1


def main(settings: Settings, env: Mapping[str, str] = os.environ) -> None:
    """Run until SIGTERM or SIGINT; ends the process: with 0 then, with 1 where it cannot start."""
    with ExitStack() as closing:
        try:
            app = _prepared(settings, _worker_id(env), closing)
        except (OperatorError, ValueError) as error:
            log.critical("the worker cannot start: %s", error)
            sys.exit(CANNOT_START)
        run_app(app)


def _prepared(settings: Settings, worker_id: int, closing: ExitStack) -> StreamApp:
    topology = load(settings.topology_file, settings.topic_namespace)
    datadir = settings.home / f"worker-{worker_id}"
    closing.enter_context(_held(datadir))
    book = CampaignBook(now_ms)
    followers = _followers(settings, topology, book, closing)
    app = build_app(
        _stream_settings(settings, topology, datadir),
        stage_agents(topology, book.snapshot),
        _deliveries(settings, topology),
    )

    def ready() -> Readiness:
        problems = tuple(follower.problem for follower in followers if follower.problem is not None)
        return Readiness(app.readiness().reasons + problems)

    observed = _observed(settings.ports.worker(worker_id), ready)
    closing.callback(observed.stop)
    log.info("worker %d: metrics and health on port %d", worker_id, observed.port)
    for follower in followers:
        follower.read_to_end(REFERENCE_DATA_TIMEOUT_S)
    book.go_live()
    for follower in followers:
        follower.start()
    return app


def stage_agents(topology: Topology, campaigns: Callable[[], Campaigns]) -> list[StageAgent]:
    """The topology's agents, each with its stages as one stage. Raises TopologyError for an unknown stage."""
    return [
        StageAgent(
            stage=stage_of(topology, agent, campaigns),
            source=agent.source.name,
            partitions=agent.source.partitions,
            changelogs={table.name: table.changelog.name for table in agent.tables},
            retentions_h={table.name: table.retention_h for table in agent.tables},
        )
        for agent in topology.agents.values()
    ]


def _followers(
    settings: Settings, topology: Topology, book: CampaignBook, closing: ExitStack
) -> list[ReferenceDataFollower[Campaign] | ReferenceDataFollower[Quiz]]:
    def on_campaign(key: bytes, campaign: Campaign | None) -> None:
        # A tombstone has no effect: a replay matches with the versions that were in force.
        if campaign is not None:
            book.apply(campaign)

    def on_quiz(key: bytes, quiz: Quiz | None) -> None:
        if quiz is not None:
            book.apply_quiz(quiz)

    bootstrap = settings.kafka_bootstrap_servers
    campaigns = ReferenceDataFollower(bootstrap, topology.topic("campaigns"), codec("campaign"), on_campaign)
    closing.callback(campaigns.stop)
    quizzes = ReferenceDataFollower(bootstrap, topology.topic("quizzes"), codec("quiz"), on_quiz)
    closing.callback(quizzes.stop)
    return [campaigns, quizzes]


def _stream_settings(settings: Settings, topology: Topology, datadir: Path) -> StreamSettings:
    stream = topology.stream
    outputs = [topic for agent in topology.agents.values() for topic in agent.outputs]
    return StreamSettings(
        group=stream.group,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        datadir=datadir,
        output_bytes_max=min(topic.record_bytes_max for topic in outputs) - RECORD_OVERHEAD_BYTES,
        chunk_limits=ChunkLimits(stream.chunk_records_max, stream.chunk_bytes_max),
        session_timeout_s=stream.session_timeout_s,
        commit_interval_s=stream.commit_interval_s,
    )


def _deliveries(settings: Settings, topology: Topology) -> Deliveries:
    dead_letters = topology.topic("dead_letters")

    def to_dead_letters(poison: Poison) -> Output:
        letter = dead_letter(poison.record, poison.stage, poison.reason, poison.record.attempts, now_ms())
        return dead_letter_output(dead_letters, letter)

    largest = max(topic.record_bytes_max for topic in topology.topics.values())
    return Deliveries(BatchProducer(settings.kafka_bootstrap_servers, largest), to_dead_letters)


def _worker_id(env: Mapping[str, str]) -> int:
    text = env.get(WORKER_ID, "0")
    if not text.isdecimal():
        raise CannotStart(f"{WORKER_ID} is {text!r}: it must be a number from 0")
    return int(text)


def _held(datadir: Path) -> IO[bytes]:
    """Lock the datadir until the file is closed: two workers in one datadir would share a crash memory."""
    try:
        datadir.mkdir(parents=True, exist_ok=True)
        lock = (datadir / "lock").open("wb")
    except OSError as error:
        raise CannotStart(f"{datadir} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise CannotStart(
            f"{datadir} belongs to a running worker: give this one another {WORKER_ID}"
        ) from None
    return lock


def _observed(port: int, ready: Callable[[], Readiness]) -> Observed:
    try:
        return serve(port, ready)
    except OSError as error:
        raise CannotStart(f"port {port} for metrics: {error.strerror}") from None

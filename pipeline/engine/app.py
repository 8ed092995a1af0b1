"""The Faust app of the stream: its settings, its tables, one agent per stage, and its readiness."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, NoReturn, cast

import faust
import msgspec
import uvloop
from faust.types import TP
from mode.supervisors import CrashingSupervisor
from yarl import URL

from pipeline.engine import metrics
from pipeline.engine.chunk import ChunkLimits
from pipeline.engine.flow_control import FlowControl
from pipeline.engine.recovery import StrictTableManager
from pipeline.engine.stage_runner import Limits, Producer, StageRunner, StateTable
from pipeline.engine.store import store_of
from pipeline.engine.topic_check import TopicsNotReady, check_topics
from pipeline.engine.transport import Consumer
from pipeline.runtime.health import Readiness
from pipeline.runtime.record import Output, Poison
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.stages.contract import Stage

log = logging.getLogger(__name__)

EXIT_UNRECOVERABLE = 70  # EX_SOFTWARE: a process supervisor restarts it, with back-off
QUEUED_CHUNKS_MAX = 8  # of one agent; the fetcher waits while it is full
HEARTBEAT_S_MAX = 1.0
SUSPICIOUS_SESSION_RATIO = 0.5
HEARTBEAT_WAIT_RATIO = 1.5
UNCOMMITTED_S_MAX = 30.0  # acks that are older and not committed make the process not ready
RECOVERY_BUFFER_RECORDS = 1000
CRASH_FOLDER = "in-hand"  # an old word: running workers have their files in this folder
HOUR_MS = 3_600_000
STOP_S_MAX = 9.0  # a supervisor kills after ten


class StageAgent(msgspec.Struct, frozen=True):
    """A stage with its topics and changelogs: physical names and partition counts."""

    stage: Stage
    source: str
    partitions: int
    changelogs: Mapping[str, str]  # of each of the stage's tables
    retentions_h: Mapping[str, int] = {}  # a table without one keeps its keys for ever


class StreamSettings(msgspec.Struct, frozen=True):
    """The settings of the stream in one process."""

    group: str
    bootstrap_servers: str
    datadir: Path  # of this process alone
    output_bytes_max: int
    chunk_limits: ChunkLimits = ChunkLimits()
    session_timeout_s: float = 10.0
    commit_interval_s: float = 1.0
    log_start_age_s_max: float = 10.0
    transport: str = "batch"  # the scheme of a `faust.transports` entry

    @property
    def heartbeat_s(self) -> float:
        """Often enough that three may be lost."""
        return min(HEARTBEAT_S_MAX, self.session_timeout_s / 4)


class StreamApp(faust.App):
    """Faust's app, with the settings of the batch transport and the process's readiness."""

    batch_topics: frozenset[str] = frozenset()
    chunk_limits: ChunkLimits = ChunkLimits()
    runners: Sequence[StageRunner] = ()
    _rebalance_began_s: float | None = None
    _assigned_once = False

    @cached_property
    def flow_control(self) -> FlowControl:
        """Open while chunks flow into the streams."""
        return FlowControl(loop=self.loop)

    def stop_process(self, reason: BaseException) -> NoReturn:
        """End the process at once: without another ack or commit, and without leaving the group.

        Safe after any error: what was acked before is durable, and the rest is repeated.
        """
        log.critical("the stream stops: %s", reason, exc_info=None if reason.args else reason)
        for handler in logging.getLogger().handlers:
            handler.flush()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_UNRECOVERABLE)

    def on_rebalance_start(self) -> None:
        """Record that a rebalance has begun."""
        super().on_rebalance_start()
        metrics.REBALANCES.inc()
        self._rebalance_began_s = self._rebalance_began_s or monotonic()

    def on_rebalance_end(self) -> None:
        """Record that tables are recovered and records are processed again."""
        super().on_rebalance_end()
        self._assigned_once = True
        if self._rebalance_began_s is not None:
            metrics.RECOVERY_SECONDS.observe(monotonic() - self._rebalance_began_s)
            self._rebalance_began_s = None

    def readiness(self) -> Readiness:
        """Whether records are processed and committed; callable from any thread."""
        reasons: list[str] = []
        if not self._assigned_once:
            reasons.append("not in the group yet")
        elif self._rebalance_began_s is not None:
            reasons.append("rebalancing or recovering tables")
        reasons += [
            f"stage {runner.stage.name} cannot deliver what it produces"
            for runner in self.runners
            if runner.failing_since is not None
        ]
        if self._consumer is not None:
            age_s = cast(Consumer, self._consumer).uncommitted_s()
            metrics.UNCOMMITTED.set(age_s)
            if age_s > UNCOMMITTED_S_MAX:
                reasons.append(f"nothing committed for {age_s:.0f} s")
        return Readiness(tuple(reasons))


class Deliveries(NamedTuple):
    """The producer of a runner, and the conversion of poison records to dead letters."""

    producer: Producer
    dead_letter: Callable[[Poison], Output]


def build_app(
    settings: StreamSettings,
    agents: Sequence[StageAgent],
    deliveries: Deliveries,
    before_start: Callable[[], Awaitable[None]] | None = None,
) -> StreamApp:
    """Build the app. `before_start` returns before the first record; if it raises, the process ends."""
    app = StreamApp(
        settings.group,
        broker=[URL(f"{settings.transport}://{s.strip()}") for s in settings.bootstrap_servers.split(",")],
        datadir=settings.datadir,
        store="batch://",
        TableManager=StrictTableManager,
        agent_supervisor=CrashingSupervisor,
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        # Topics are created from the topology; Faust would choose partitions and settings itself.
        topic_allow_declare=False,
        topic_partitions=max(agent.partitions for agent in agents),
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_commit_interval=settings.commit_interval_s,
        stream_buffer_maxsize=QUEUED_CHUNKS_MAX,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
    )
    app.batch_topics = frozenset(agent.source for agent in agents)
    app.chunk_limits = settings.chunk_limits
    started = _Once(lambda: _start(settings, agents, before_start))
    app.runners = [_declare(app, settings, agent, deliveries, started) for agent in agents]
    return app


async def _start(
    settings: StreamSettings,
    agents: Sequence[StageAgent],
    before_start: Callable[[], Awaitable[None]] | None,
) -> None:
    wanted = {topic: a.partitions for a in agents for topic in (a.source, *a.changelogs.values())}
    await asyncio.to_thread(check_topics, settings.bootstrap_servers, wanted)
    if before_start is not None:
        await before_start()


class _Once:
    """Runs a hook once, however many callers wait for it."""

    def __init__(self, hook: Callable[[], Awaitable[None]]) -> None:
        self._hook = hook
        self._task: asyncio.Future[None] | None = None

    async def __call__(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._hook())
        await asyncio.shield(self._task)


def _declare(
    app: StreamApp, settings: StreamSettings, agent: StageAgent, deliveries: Deliveries, started: _Once
) -> StageRunner:
    stage = agent.stage
    tables = {
        name: StateTable(
            store_of(_table(app, name, agent.changelogs[name], agent.partitions)),
            changelog,
            agent.retentions_h[name] * HOUR_MS if name in agent.retentions_h else None,
        )
        for name, changelog in agent.changelogs.items()
        if name in stage.tables
    }

    async def log_start(tp: Any) -> int:
        return int((await app.consumer.earliest_offsets(cast(TP, tp)))[tp])

    runner = StageRunner(
        stage,
        tables=tables,
        producer=deliveries.producer,
        tracker=lambda: cast(Consumer, app.consumer).tracker,
        highwater=lambda tp: app.consumer.highwater(cast(TP, tp)),
        dead_letter=deliveries.dead_letter,
        crash_dir=settings.datadir / CRASH_FOLDER,
        limits=Limits(
            output_bytes_max=settings.output_bytes_max,
            suspicious_s=settings.session_timeout_s * SUSPICIOUS_SESSION_RATIO,
            heartbeat_wait_s=settings.heartbeat_s * HEARTBEAT_WAIT_RATIO,
            log_start_age_s_max=settings.log_start_age_s_max,
        ),
        log_start=log_start,
    )

    async def body(stream: Any) -> None:
        try:
            await started()
            await runner.run(stream)
        except TopicsNotReady as exc:
            app.stop_process(exc)
        except Exception as exc:
            log.exception("stage %s", stage.name)
            app.stop_process(exc)

    app.agent(_raw_topic(app, agent.source, agent.partitions), name=stage.name, concurrency=1)(body)
    return runner


def _table(app: StreamApp, name: str, changelog: str, partitions: int) -> Any:
    return app.Table(
        name,
        key_type=bytes,
        value_type=bytes,
        partitions=partitions,
        changelog_topic=_raw_topic(app, changelog, partitions),
        recovery_buffer_size=RECOVERY_BUFFER_RECORDS,
    )


def _raw_topic(app: StreamApp, name: str, partitions: int) -> Any:
    return app.topic(
        name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        partitions=partitions,
    )


class _Worker(faust.Worker):
    """Stops within `STOP_S_MAX` even if the brokers do not answer: Faust's own stop waits without end."""

    def _schedule_shutdown(self, number: signal.Signals) -> None:
        # What was acked is durable and the rest is repeated, so ending at once loses nothing.
        late = threading.Timer(STOP_S_MAX, os._exit, [EXIT_UNRECOVERABLE])
        late.daemon = True
        late.start()
        super()._schedule_shutdown(number)

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Faust has set its own handlers."""
        super().on_setup_root_logger(logger, level)
        suppress_repeats()


def run_app(app: faust.App, loglevel: str = "INFO") -> NoReturn:
    """Run until SIGTERM or SIGINT; ends the process. The chunk in flight may end, within its time-out.

    Exit code 0 after a signal, something else after a crash.
    """
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    worker = _Worker(app, loglevel=loglevel, quiet=True, redirect_stdouts=False)
    worker.spinner = None  # it would write to the terminal, however quiet
    worker.execute_from_commandline()

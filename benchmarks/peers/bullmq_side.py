"""The other side of the journey: Express, BullMQ on Valkey, PostgreSQL (`bullmq/`), and the same provider."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import redis

from benchmarks.load.questionnaire import CHOSEN, YES
from benchmarks.load.scene import Scene
from benchmarks.measure.checks import wait_until
from benchmarks.measure.cpu import OWNER, CpuClock
from benchmarks.measure.deployment import NOT_USED, Log, end, processes, servers
from benchmarks.peers import install
from benchmarks.peers.turn import Judged
from benchmarks.plans import Peers
from ops.embedded.home import Home
from ops.embedded.stack import KAFKA_ENV
from ops.locate import Deployment
from pipeline.runtime.ports import Ports
from sinks.postgres.connect import connect

QUEUES = ("completions", "messages")
WAITING_LISTS = ("wait", "active", "paused")
WAITING_SETS = ("delayed", "prioritized")
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class BullmqSide:
    """`benchmarks.peers.turn.Side`."""

    def __init__(self, found: Deployment, scene: Scene, pids: Mapping[str, int]) -> None:
        self.found = found
        self.scene = scene
        self._pids = dict(pids)
        self._queues: Any = redis.Redis.from_url(found.settings.redis_url)

    def cpu(self, generator_pid: int) -> CpuClock:
        # The supervisor of this side is the process that measures.
        return CpuClock(self.found, {"generator": generator_pid, **self._pids}, without={OWNER})

    def wait_empty(self, timeout_s: float) -> None:
        wait_until(lambda: self._waiting() == 0, timeout_s, lambda: "the queues were not empty")

    def _waiting(self) -> int:
        keys = self._queues.pipeline(transaction=True)
        for queue in QUEUES:
            for name in WAITING_LISTS:
                keys.llen(f"bull:{queue}:{name}")
            for name in WAITING_SETS:
                keys.zcard(f"bull:{queue}:{name}")
        return int(sum(keys.execute()))

    def judged(self) -> Judged:
        query = (
            "SELECT uuid_send(id), extract(epoch FROM processed_at)::float8, verdict = 'matched' "
            "FROM completions WHERE verdict IS NOT NULL"
        )
        seen_at: dict[bytes, float] = {}
        matched: set[bytes] = set()
        with connect(self.found.settings.database_url, "bench peers") as connection:
            for row in connection.execute(query).fetchall():
                completion, at, match = bytes(row[0]), float(row[1]), bool(row[2])  # type: ignore[call-overload,arg-type]
                seen_at[completion] = at
                if match:
                    matched.add(completion)
        return Judged(seen_at, matched)


@contextmanager
def running(plan: Peers, log: Log) -> Iterator[BullmqSide]:
    """Raises CannotStart, Missing."""
    code = install.bullmq(log)
    ports = Ports.from_base(plan.port_base)
    with servers(log, plan.port_base, without={KAFKA_ENV: NOT_USED}) as found, ExitStack() as ending:
        scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
        _plant(found, scene, code)
        ending.enter_context(processes(found, ["simulator"]))
        env, logs = _env(found, scene, ports), Home(found.settings.home).logs
        pids = {name: ending.enter_context(_process(name, code, env, logs)) for name in ("worker", "api")}
        url = f"http://127.0.0.1:{ports.edge}/health"
        wait_until(lambda: _answers(url), READY_TIMEOUT_S, lambda: "the BullMQ API was not ready")
        yield BullmqSide(found, scene, pids)


def _plant(found: Deployment, scene: Scene, code: Path) -> None:
    quiz = scene.questionnaire
    conditions = [{"question": CHOSEN, "values": [YES]}]
    with connect(found.settings.database_url, "bench peers") as connection:
        connection.execute((code / "schema.sql").read_bytes())
        connection.execute("INSERT INTO quizzes VALUES (%s, %s)", [quiz.quiz_id, list(quiz.questions)])
        connection.execute(
            "INSERT INTO campaigns VALUES (%s, %s, %s::jsonb, %s)",
            [
                scene.campaign_id,
                quiz.quiz_id,
                msgspec.json.encode(conditions).decode(),
                "obrigado",  # a template that the simulated account has
            ],
        )


def _env(found: Deployment, scene: Scene, ports: Ports) -> dict[str, str]:
    windows = found.topology.windows
    return {
        **os.environ,
        "NODE_ENV": "production",
        "DATABASE_URL": found.settings.database_url,
        "REDIS_URL": found.settings.redis_url,
        "PORT": str(ports.edge),
        "SERVICE_TOKEN": found.settings.service_token,
        "PROVIDER_URL": found.settings.simulator_url,
        "ACCESS_TOKEN": found.settings.access_token,
        "NUMBERS": ",".join(scene.number_ids),
        "MESSAGES_PER_S": str(found.topology.sender.messages_per_s),
        "CONTACT_LIMIT": str(windows.contact.limit),
        "CONTACT_QUIZ_LIMIT": str(windows.contact_quiz.limit),
    }


@contextmanager
def _process(name: str, code: Path, env: Mapping[str, str], logs: Path) -> Iterator[int]:
    with (logs / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            ["node", f"{name}.js"], cwd=code, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield child.pid
    finally:
        end(child, STOP_TIMEOUT_S)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0):
            return True
    except (urllib.error.URLError, OSError):
        return False

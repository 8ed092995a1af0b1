"""A corner of the shared servers for a fault test: a database, topics, a home and ports of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql

from ops import locate
from ops.chaos import scene
from ops.chaos.crew import Crew
from ops.chaos.load import Load, LoadPlan
from ops.chaos.machine.background import Background
from ops.deployment.prepare import prepare, publish
from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from tests.support.ports import free_ports

READY_TIMEOUT_S = 300.0  # a bound on a hang, not a promise
LAST_ANSWERS_TIMEOUT_S = 200.0


@dataclass(frozen=True)
class Scenario:
    found: Deployment
    crew: Crew

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.found.settings.database_url) as connection:
            return connection.execute(query, parameters).fetchall()

    def value(self, query: str, *parameters: object) -> Any:
        return self.rows(query, *parameters)[0][0]

    def log_of(self, name: str) -> str:
        logs = self.found.settings.home / "logs"
        return "".join(path.read_text(errors="replace") for path in sorted(logs.glob(f"{name}.log*")))

    @contextmanager
    def under_load(self, rate_per_s: float, seed: int, people: int, accepted: Path) -> Iterator[Load]:
        """Requests come all the while; at the end returns once each has its answer, and none was refused."""
        import asyncio

        settings = self.found.settings
        background = Background("load")
        stop = asyncio.Event()
        with accepted.open("w", buffering=1, encoding="utf-8") as file:
            plan = LoadPlan(seed, rate_per_s, people, settings.edge_url, settings.service_token)
            load = Load(plan, file)
            running = background.begin(load.run(stop))
            try:
                yield load
                background.do(_set(stop))
                running.result(LAST_ANSWERS_TIMEOUT_S)
            finally:
                background.close()
        assert (load.tally.refused, load.tally.gave_up) == (0, 0), load.tally.problems


async def _set(stop: Any) -> None:
    stop.set()


@contextmanager
def a_scenario(
    urls: ServerUrls,
    home: Path,
    namespace: str,
    overrides: Callable[[Deployment], Mapping[str, Mapping[str, str]]] = lambda _found: {},
    more_env: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Scenario]:
    """Everything runs inside the `with`, campaigns are in force, and nothing is left after it."""
    name = f"faults_{namespace.strip('.')}"
    with psycopg.connect(urls.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    found = locate.find(
        {
            **{key: value for key, value in os.environ.items() if not key.startswith("QUIZSTREAM_")},
            **urls.as_env(),
            "DATABASE_URL": f"{urls.database_url.rpartition('/')[0]}/{name}",
            "QUIZSTREAM_HOME": str(home),
            "QUIZSTREAM_PORT_BASE": str(free_ports(blocks=2).base),
            "QUIZSTREAM_NAMESPACE": namespace,
            **more_env,
        }
    )
    (home / "logs").mkdir(parents=True, exist_ok=True)
    try:
        prepare(found)
        effective_at_ms = scene.plant(found)
        publish(found)
        crew = Crew(found, home / "logs", overrides(found))
        try:
            late = crew.start(READY_TIMEOUT_S)
            assert not late, f"not ready: {late}"
            time.sleep(max(0.0, effective_at_ms / 1000 + 0.25 - time.time()))
            yield Scenario(found, crew)
        finally:
            crew.stop()
    finally:
        with psycopg.connect(urls.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def until(holds: Callable[[], bool], what: str | Callable[[], str], timeout_s: float = 240.0) -> None:
    """Waits for a state, not for a time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)

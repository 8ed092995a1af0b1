"""`quizstream up --edges N` for a test: the command itself, on the shared servers, with limits of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg import sql

from ops.embedded.home import Home
from ops.embedded.stack import ServerUrls
from pipeline.runtime.ports import Ports
from pipeline.runtime.settings import DEVELOPMENT_SERVICE_TOKEN
from tests.support import forked
from tests.support.ports import free_ports
from tests.support.running_pipeline import COMMAND_TIMEOUT_S

TOPOLOGY_FILE = Path(__file__).resolve().parents[2] / "topology.yaml"
QUIZ = "bfi"  # of the demo
TOKEN = DEVELOPMENT_SERVICE_TOKEN


@dataclass(frozen=True)
class Deployed:
    home: Home
    ports: Ports
    env: dict[str, str]
    edges: int

    @property
    def shared_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.edge}/quiz/{QUIZ}/completions"

    def quizstream(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.quizstream(arguments, self.env, COMMAND_TIMEOUT_S)

    def done(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        ran = self.quizstream(*arguments)
        assert ran.returncode == 0, (arguments, ran.stdout[-3000:], ran.stderr[-3000:])
        return ran.stdout

    def reconciled(self, accepted: list[str], file: Path) -> None:
        file.write_text("".join(f"{completion_id}\n" for completion_id in accepted))
        self.done("reconcile", "--accepted", str(file), "--wait", "240")

    def processes(self) -> dict[str, Any]:
        processes: dict[str, Any] = json.loads(self.home.state_file.read_text())["processes"]
        return processes


@contextmanager
def deployed(stack: ServerUrls, folder: Path, edges: int, edge: dict[str, Any]) -> Iterator[Deployed]:
    """`edge` replaces parts of the topology's section of this name."""
    topology = yaml.safe_load(TOPOLOGY_FILE.read_text())
    for name, value in edge.items():
        topology["edge"][name] = topology["edge"][name] | value
    file = folder / "topology.yaml"
    file.write_text(yaml.safe_dump(topology))
    database = f"deployed_{secrets.token_hex(4)}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    home, ports = Home(folder / "home"), free_ports()
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("QUIZSTREAM_")},
        **stack.as_env(),
        "DATABASE_URL": f"{stack.database_url.rpartition('/')[0]}/{database}",
        "QUIZSTREAM_HOME": str(home.path),
        "QUIZSTREAM_PORT_BASE": str(ports.base),
        "QUIZSTREAM_NAMESPACE": f"t{secrets.token_hex(4)}.",
        "QUIZSTREAM_TOPOLOGY": str(file),
        "QUIZSTREAM_ACTOR": "a test",
    }
    one = Deployed(home, ports, env, edges)
    try:
        one.done("up", "--demo", "--edges", str(edges))
        yield one
    finally:
        one.quizstream("down")
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

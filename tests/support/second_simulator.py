"""A provider under an address of its own: a simulator that belongs to no deployment."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports

READY_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class SecondSimulator:
    url: str
    home: Path

    def command(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/simulator/{path}", method=method, data=data)
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def rule(self, do: str, **more: Any) -> None:
        self.command("POST", "rules", {"do": do, **more})

    def calls(self) -> list[dict[str, Any]]:
        path = self.home / "simulator" / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def second_simulator(env: Mapping[str, str], home: Path, access_token: str) -> Iterator[SecondSimulator]:
    """`env` of the deployment to whose edge its webhooks go."""
    base = free_ports().base
    own = {name: value for name, value in env.items() if name != "QUIZSTREAM_SIMULATOR_URL"}
    own |= {
        "QUIZSTREAM_HOME": str(home),
        "QUIZSTREAM_PORT_BASE": str(base),
        "WHATSAPP_ACCESS_TOKEN": access_token,
    }
    home.mkdir()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.processes.table", "simulator"], env=own, stdout=log, stderr=log
        )
    try:
        simulator = SecondSimulator(f"http://127.0.0.1:{base + 10}", home)
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not _serves(simulator.url):
            assert time.monotonic() < deadline_s, (home / "log").read_text()
            time.sleep(0.1)
        yield simulator
    finally:
        process.terminate()
        process.wait(30)


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2):
            return True
    except OSError:
        return False

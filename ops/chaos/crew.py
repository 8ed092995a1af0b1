"""The processes under test, run by the supervisor; each start can be armed with a crash point."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ops.locate import Deployment, as_env
from ops.processes import table
from ops.processes.supervisor import ProcessSpec, Supervisor
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.crash_points import VARIABLE
from pipeline.worker import WORKER_ID

RESTART_FIRST_S = 0.2
RESTART_MAX_S = 2.0  # faults are close together: a long back-off would hide the next one
FURTHER_WORKERS = 3
# A further worker has a port by its number; further processes of other kinds have a port base of their own.
FURTHER_PORTS_APART = 100


class ArmedEnv(Mapping[str, str]):
    """A process's environment; each start (a reading of all variables) uses the next of `arms`."""

    def __init__(self, base: Mapping[str, str]) -> None:
        self._base = dict(base)
        self._armed = ""
        self._lock = threading.Lock()
        self.arms: deque[str] = deque()

    def keys(self) -> list[str]:  # type: ignore[override]  # `{**env}` requires only an iterable
        with self._lock:
            self._armed = self.arms.popleft() if self.arms else ""
        return [*self._base, VARIABLE]

    def __getitem__(self, name: str) -> str:
        return self._armed if name == VARIABLE else self._base[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._base, VARIABLE])

    def __len__(self) -> int:
        return len(self._base) + 1


class Crew:
    """Every process once, and further workers and a second sender that start paused."""

    def __init__(
        self,
        found: Deployment,
        logs: Path,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        """`overrides`: process name -> additional variables, such as a server's address through a proxy."""
        settings, overrides = found.settings, overrides or {}
        env = as_env(settings)
        self.envs: dict[str, ArmedEnv] = {}
        specs = []
        for spec in table.specs(settings, env):
            self.envs[spec.name] = ArmedEnv({**env, **overrides.get(spec.name, {})})
            specs.append(replace(spec, env=self.envs[spec.name]))
        self.names = tuple(spec.name for spec in specs)
        self.supervisor = Supervisor(
            specs,
            logs,
            backoff=lambda: Backoff(RESTART_FIRST_S, RESTART_MAX_S, jitter_ratio=0.0),
            inherited_fds=inherited_fds,
        )
        argv = {spec.name: spec.argv for spec in specs}
        further = [
            ProcessSpec(
                f"worker-{number}",
                argv["worker"],
                {**env, **overrides.get("worker", {}), WORKER_ID: str(number)},
            )
            for number in range(1, FURTHER_WORKERS + 1)
        ]
        for name in ("whatsapp-sender", "postgres-sink"):
            apart = {"QUIZSTREAM_PORT_BASE": str(settings.port_base + FURTHER_PORTS_APART)}
            further.append(ProcessSpec(f"{name}-1", argv[name], {**env, **overrides.get(name, {}), **apart}))
        self.further_names = tuple(spec.name for spec in further)
        self._further = {
            spec.name: Supervisor(
                [spec],
                logs,
                backoff=lambda: Backoff(RESTART_FIRST_S, RESTART_MAX_S, jitter_ratio=0.0),
                inherited_fds=inherited_fds,
            )
            for spec in further
        }
        self._joined: Counter[str] = Counter()
        self._joining = threading.Lock()

    def start(self, ready_timeout_s: float) -> list[str]:
        """Start the processes; return the names of those that are not ready in time."""
        self.supervisor.start()
        return self.supervisor.wait_ready(ready_timeout_s)

    def join(self, name: str) -> None:
        """Start a further process, unless it already runs."""
        with self._joining:
            self._joined[name] += 1
            if self._joined[name] == 1:
                self._further[name].start()

    def leave(self, name: str) -> None:
        """Release a further process; after the last release it has ended when this returns."""
        with self._joining:
            self._joined[name] -= 1
            if self._joined[name] == 0:
                self._further[name].stop()

    def stop(self) -> None:
        """Return once every process has ended."""
        with self._joining:
            for name in self._joined:
                self._further[name].stop()
            self._joined.clear()
        self.supervisor.stop()

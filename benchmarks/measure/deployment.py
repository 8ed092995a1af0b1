"""What is measured: servers, processes or a whole deployment, each in a new folder and on its own ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ops import locate
from ops.deployment.daemon import READY
from ops.deployment.prepare import prepare
from ops.embedded.home import Home
from ops.embedded.stack import DATABASE_ENV, REDIS_ENV, EmbeddedStack
from ops.locate import Deployment
from ops.processes import table
from ops.processes.supervisor import Supervisor
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports

OWN_PORT_BASE = 15_000  # below the ports that outgoing connections get
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
NOT_USED = "127.0.0.1:1"  # the address of a server that is not started
# A deployment of the benchmark's own is never the one that the environment names.
PLACES = (
    *("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "REDIS_URL"),
    *("QUIZSTREAM_HOME", "QUIZSTREAM_PORT_BASE", "QUIZSTREAM_EDGE_URL", "QUIZSTREAM_SIMULATOR_URL"),
)

Log = Callable[[str], None]


@contextmanager
def own_home(log: Log, keep: bool = False) -> Iterator[Home]:
    """A new folder, removed afterwards unless `keep`."""
    home = Home(Path(tempfile.mkdtemp(prefix="quizstream-bench-")))
    home.path.chmod(0o711)  # started by root, PostgreSQL runs as a user that passes through
    try:
        yield home
    finally:
        if keep:
            log(f"kept: {home.path}")
        else:
            home.remove()


@contextmanager
def servers(
    log: Log, port_base: int = OWN_PORT_BASE, without: Mapping[str, str] | None = None
) -> Iterator[Deployment]:
    """Kafka, PostgreSQL and Valkey, nothing in them. Raises CannotStart.

    `without`: addresses by environment variable; a server whose address is given is not started.
    """
    with own_home(log) as home:
        stack = EmbeddedStack(home.path, Ports.from_base(port_base), log, env=without or {})
        try:
            urls = stack.start()
            own = {"QUIZSTREAM_HOME": str(home.path), "QUIZSTREAM_PORT_BASE": str(port_base)}
            yield locate.find({**own, **urls.as_env()})
        finally:
            stack.stop()


class Broker(NamedTuple):
    bootstrap: str
    pid: int
    home: Path


@contextmanager
def broker(log: Log, port_base: int = OWN_PORT_BASE) -> Iterator[Broker]:
    """Kafka alone. Raises CannotStart."""
    with own_home(log) as home:
        env = {DATABASE_ENV: NOT_USED, REDIS_ENV: NOT_USED}
        stack = EmbeddedStack(home.path, Ports.from_base(port_base), log, env=env)
        try:
            yield Broker(stack.start().kafka_bootstrap, stack.pids["kafka-1"], home.path)
        finally:
            stack.stop()


@contextmanager
def prepared(log: Log, port_base: int = OWN_PORT_BASE) -> Iterator[Deployment]:
    """The servers with topics, tables and seeds; no process of the pipeline runs. Raises CannotStart."""
    with servers(log, port_base) as found:
        prepare(found)
        yield found


@contextmanager
def processes(
    found: Deployment,
    names: Sequence[str],
    late: Sequence[str] = (),
    commands: Mapping[str, list[str]] | None = None,
) -> Iterator[Supervisor]:
    """The named processes, ready, except for the `late`, which wait for `resume`. Raises CannotStart.

    `commands`: by name, what is run in the place of the process's own command.
    """
    home = Home(found.settings.home)
    env = locate.as_env(found.settings)
    given = commands or {}
    specs = [
        replace(spec, argv=given.get(spec.name, spec.argv))
        for spec in table.specs(found.settings, env)
        if spec.name in names
    ]
    supervisor = Supervisor(specs, home.logs, state_file=home.state_file)
    supervisor.start()
    try:
        for name in late:
            supervisor.pause(name)
        unready = supervisor.wait_ready(READY_TIMEOUT_S, [name for name in names if name not in late])
        if unready:
            raise CannotStart(f"Not ready after {READY_TIMEOUT_S:.0f} s: {', '.join(unready)}")
        yield supervisor
    finally:
        supervisor.stop()


@contextmanager
def whole(log: Log, port_base: int = OWN_PORT_BASE, keep: bool = False) -> Iterator[Deployment]:
    """Servers and every process, with a supervisor of their own. Raises CannotStart."""
    with own_home(log, keep) as home:
        env = {name: value for name, value in os.environ.items() if name not in PLACES}
        env |= {"QUIZSTREAM_HOME": str(home.path), "QUIZSTREAM_PORT_BASE": str(port_base)}
        with _up(home, env, log):
            yield locate.find(env)


@contextmanager
def _up(home: Home, env: Mapping[str, str], log: Log) -> Iterator[None]:
    home.prepare()
    errors_file = home.logs / "up.log"
    with errors_file.open("ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "ops.deployment.up"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C here ends this process, which then stops the deployment
            text=True,
        )
    try:
        assert child.stdout is not None
        line = ""
        for line in child.stdout:
            if line.strip() == READY:
                break
            log(line.strip())
        if line.strip() != READY:
            raise CannotStart(f"It did not start: {line.strip() or 'no output'} (log: {errors_file})")
        yield
    finally:
        end(child, STOP_TIMEOUT_S)


def end(child: subprocess.Popen[str] | subprocess.Popen[bytes], timeout_s: float) -> bool:
    """SIGTERM, then SIGKILL after `timeout_s`. Returns whether the first was enough; it has ended."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return False
    return True

"""A few processes of the pipeline alone, on servers of their own: what one part costs without the others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.subject import OWN_PORT_BASE, Tell
from ops import locate
from ops.deployment.prepare import prepare
from ops.embedded.cannot_start import CannotStart
from ops.embedded.home import Home
from ops.embedded.ports import Ports
from ops.embedded.stack import EmbeddedStack
from ops.locate import Deployment
from ops.processes import table
from ops.processes.supervisor import Supervisor

READY_TIMEOUT_S = 90.0


class Spread(msgspec.Struct, frozen=True):
    """Of several runs."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(round(median(values), 2), round(min(values), 2), round(max(values), 2))


class Wrong(Exception):
    """What came out is not what went in: there are no figures. The message is one line."""


@contextmanager
def servers(tell: Tell, port_base: int = OWN_PORT_BASE) -> Iterator[Deployment]:
    """Kafka, PostgreSQL and Valkey in a new folder, with topics, tables and seeds. Raises CannotStart."""
    home = Home(Path(tempfile.mkdtemp(prefix="quizstream-bench-")))
    home.path.chmod(0o711)  # started by root, PostgreSQL runs as a user that passes through
    stack = EmbeddedStack(home.path, Ports.from_base(port_base), tell, env={})
    try:
        urls = stack.start()
        own = {"QUIZSTREAM_HOME": str(home.path), "QUIZSTREAM_PORT_BASE": str(port_base)}
        found = locate.find({**own, **urls.as_env()})
        prepare(found)
        yield found
    finally:
        stack.stop()
        home.remove()


@contextmanager
def running(found: Deployment, names: Sequence[str], late: Sequence[str] = ()) -> Iterator[Supervisor]:
    """The named processes, ready, except for the `late`, which wait for `resume`. Raises CannotStart."""
    home = Home(found.settings.home)
    env = locate.as_env(found.settings)
    wanted = [spec for spec in table.specs(found.settings, env) if spec.name in names]
    supervisor = Supervisor(wanted, home.logs, state_file=home.state_file)
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

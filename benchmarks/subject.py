"""The deployment that is measured: one of its own for this run, or the one that runs here already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops import locate
from ops.deployment.daemon import READY
from ops.embedded.cannot_start import CannotStart
from ops.embedded.home import Home
from ops.locate import Deployment
from ops.processes import process_state
from pipeline.runtime.settings import PORT_BASE_DEFAULT

OWN_PORT_BASE = 15_000  # below the ports that outgoing connections get
STOP_TIMEOUT_S = 60.0
# A deployment of its own is never the one that the environment names.
_PLACES = (
    *("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "REDIS_URL"),
    *("QUIZSTREAM_HOME", "QUIZSTREAM_PORT_BASE", "QUIZSTREAM_EDGE_URL", "QUIZSTREAM_SIMULATOR_URL"),
)

Tell = Callable[[str], None]


def running_here(env: Mapping[str, str] = os.environ) -> Deployment:
    """The deployment of the environment. Raises CannotStart when no supervisor runs there."""
    found = locate.find(env)
    told = process_state.read(Home(found.settings.home).state_file)
    if told is None or not _lives(told.supervisor_pid):
        base = found.settings.port_base
        where = "" if base == PORT_BASE_DEFAULT else f" (ports from {base})"
        raise CannotStart(f"Nothing runs in {found.settings.home}{where}: start it with `quizstream up`.")
    return found


@contextmanager
def own(tell: Tell, port_base: int = OWN_PORT_BASE, keep: bool = False) -> Iterator[Deployment]:
    """Everything in a new folder and on ports of its own; gone afterwards. Raises CannotStart."""
    home = Home(Path(tempfile.mkdtemp(prefix="quizstream-bench-")))
    home.path.chmod(0o711)  # started by root, PostgreSQL runs as a user that passes through
    env = {name: value for name, value in os.environ.items() if name not in _PLACES}
    env |= {"QUIZSTREAM_HOME": str(home.path), "QUIZSTREAM_PORT_BASE": str(port_base)}
    try:
        with _up(home, env, tell):
            yield locate.find(env)
    finally:
        if keep:
            tell(f"kept: {home.path}")
        else:
            home.remove()


@contextmanager
def _up(home: Home, env: Mapping[str, str], tell: Tell) -> Iterator[None]:
    home.prepare()
    with (home.logs / "up.log").open("ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "ops.deployment.up"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C here is for this process, which then stops that one
            text=True,
        )
    try:
        assert child.stdout is not None
        said = ""
        for line in child.stdout:
            said = line.strip()
            if said == READY:
                break
            tell(said)
        if said != READY:
            raise CannotStart(f"It did not start: {said or 'it said nothing'} (log: {home.logs / 'up.log'})")
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

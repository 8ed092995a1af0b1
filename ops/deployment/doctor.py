"""Checks whether everything works; a failed check shows the cause and the remedy.

The checks change nothing. Checks beyond servers and processes (topics, migrations) are parameters, so that
this file depends on neither.
"""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from ops import state_file
from ops.embedded.home import FREE_BYTES_MIN, Home, is_alive
from ops.embedded.server_state import Servers, ServerState, exit_text
from ops.embedded.stack import DATABASE_ENV, KAFKA_ENV, REDIS_ENV
from ops.processes.process_state import Processes, State
from ops.processes.table import EDGE
from pipeline.runtime.settings import Settings

ANSWER_TIMEOUT_S = 3.0
DETAIL_CHARACTERS_MAX = 200


class Finding(msgspec.Struct, frozen=True):
    """The result of one check. `detail`: what was found; `remedy`: what to do, empty if the check passed.

    A `warning` is `ok`: the check passed, and an operator should look at something.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A check: `ask` returns what it found, or raises `Warned`, `Ailing` or any other exception.

    It runs only after the check named `needs` has passed.
    """

    name: str
    ask: Callable[[Settings], str]
    remedy: str
    needs: str | None = None


class Ailing(Exception):
    """A check failed; the message is what is wrong. `remedy` replaces the check's general remedy."""

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.remedy = remedy


class Warned(Ailing):
    """Everything serves, and someone should look at this."""


START = "start it with `quizstream up` (or `make run`)"


def diagnose(settings: Settings, health_urls: Mapping[str, str], more: Sequence[Check] = ()) -> list[Finding]:
    """Run all checks, servers first, each with a time limit; return the findings.

    `health_urls`: process name -> the URL that answers 200 once the process works.
    """
    findings: list[Finding] = []
    waiting = [*_server_checks(), *more, *_process_checks(settings, health_urls)]
    with ThreadPoolExecutor(8, "doctor") as pool:
        while waiting:
            known = {finding.name: finding.ok for finding in findings}
            names_waiting = {check.name for check in waiting}
            round_ = [check for check in waiting if check.needs is None or check.needs not in names_waiting]
            if not round_:
                raise ValueError(f"checks depend on each other in a cycle: {sorted(names_waiting)}")
            findings.extend(pool.map(lambda check, known=known: _find(check, settings, known), round_))
            waiting = [check for check in waiting if check not in round_]
    return findings


def edges_of(settings: Settings) -> int:
    """Return the number of edges that the home's supervisor runs or ran last; 1 where that is unknown."""
    try:
        told = state_file.read(Home(settings.home).state_file, Processes)
    except (OSError, msgspec.DecodeError):
        return 1  # the check of the supervisor shows what is wrong with the file
    running = () if told is None else tuple(told.processes)
    return max(1, sum(name == EDGE or name.startswith(f"{EDGE}-") for name in running))


def all_well(findings: Sequence[Finding]) -> bool:
    return all(finding.ok for finding in findings)


def _find(check: Check, settings: Settings, known: dict[str, bool]) -> Finding:
    if check.needs is not None and not known.get(check.needs, False):
        return Finding(check.name, False, f"not checked: {check.needs} does not answer", f"see {check.needs}")
    try:
        return Finding(check.name, True, check.ask(settings))
    except Warned as warned:
        return Finding(check.name, True, _one_line(warned), warned.remedy or check.remedy, warning=True)
    except Ailing as ailing:
        return Finding(check.name, False, _one_line(ailing), ailing.remedy or check.remedy)
    except Exception as error:
        return Finding(check.name, False, _one_line(error) or type(error).__name__, check.remedy)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:DETAIL_CHARACTERS_MAX]


def _server_checks() -> list[Check]:
    servers = (
        ("kafka", KAFKA_ENV, _kafka),
        ("postgres", DATABASE_ENV, _postgres),
        ("valkey", REDIS_ENV, _valkey),
    )
    return [
        Check("home", _home, f"free some space on its disk, or set QUIZSTREAM_HOME to another; then {START}"),
        *(
            Check(name, server_check(name, variable, ask), f"{START}, or check {variable}")
            for name, variable, ask in servers
        ),
    ]


def _home(settings: Settings) -> str:
    home = Home(settings.home)
    if not home.path.is_dir():
        raise Ailing(f"{home.path} does not exist", START)
    free_bytes = shutil.disk_usage(home.path).free
    if free_bytes < FREE_BYTES_MIN:
        raise Ailing(f"only {free_bytes // 1024**2} MiB free on the disk of {home.path}")
    return f"{home.path}, {free_bytes // 1024**3} GiB free"


def _kafka(settings: Settings) -> str:
    from pipeline.runtime.kafka_clients import admin_client

    admin = admin_client(settings.kafka_bootstrap_servers)
    brokers = admin.list_topics(timeout=ANSWER_TIMEOUT_S).brokers
    return f"{len(brokers)} broker(s) at {settings.kafka_bootstrap_servers}"


def _postgres(settings: Settings) -> str:
    import psycopg

    from sinks.postgres.connect import require_url

    require_url(settings.database_url)
    with psycopg.connect(settings.database_url, connect_timeout=int(ANSWER_TIMEOUT_S)) as connection:
        used = connection.execute("SELECT count(*) FROM pg_stat_activity").fetchone()
        info = connection.info
        sessions = used[0] if used else 0
        return f"version {info.server_version // 10000} at {info.host}:{info.port}, {sessions} sessions"


def _valkey(settings: Settings) -> str:
    import redis

    with redis.Redis.from_url(settings.redis_url, socket_timeout=ANSWER_TIMEOUT_S) as client:
        client.ping()
        return f"answers, {client.dbsize()} keys: the edges' rate limits and cached pages"


def server_check(name: str, variable: str, ask: Callable[[Settings], str]) -> Callable[[Settings], str]:
    """Return `ask` with what the owner of the home knows about its servers of this name.

    While an owner runs, `quizstream up` is refused: the remedy is then another one.
    """

    def asked(settings: Settings) -> str:
        home = Home(settings.home)
        owned = state_file.read(home.server_states_file, Servers)
        if owned is None or not is_alive(owned.owner_pid):
            return ask(settings)
        servers = {
            one: state for one, state in owned.servers.items() if one == name or one.startswith(f"{name}-")
        }
        history = "; ".join(
            _history(one, state, time.time())
            for one, state in servers.items()
            if state.ended_at_s is not None
        )
        remedy = (
            f"process {owned.owner_pid} starts it again; read {home.logs / name}*.log; "
            f"if it does not come back: `quizstream down`, then `quizstream up`"
            if servers
            else f"start the server that {variable} names"
        )
        try:
            found = ask(settings)
        except Exception as error:
            cause = history or ("it runs but does not answer" if servers else "")
            raise Ailing(f"{cause}: {error}" if cause else str(error), remedy) from error
        found = f"{found}; {history}" if history else found
        if any(state.state is not State.READY for state in servers.values()):
            raise Warned(found, remedy)
        return found

    return asked


def _history(name: str, server: ServerState, now_s: float) -> str:
    """`kafka-1 ended 12 s ago (SIGKILL), 2 restarts, is started again in 3 s`."""
    ended_ago_s = max(0.0, now_s - (server.ended_at_s or now_s))
    text = f"{name} ended {ended_ago_s:.0f} s ago ({exit_text(server.last_exit)}), {server.restarts} restarts"
    if server.problem:
        text += f", the last start failed: {server.problem}"
    match server.state:
        case State.WAITING:
            due_in_s = max(0.0, (server.next_start_at_s or now_s) - now_s)
            return f"{text}, is started again in {due_in_s:.0f} s"
        case State.READY:
            return f"{text}, runs again"
        case state:
            return f"{text}, {state.value}"


def _process_checks(settings: Settings, health_urls: Mapping[str, str]) -> list[Check]:
    logs = Home(settings.home).logs
    return [
        Check("supervisor", _supervisor, START),
        *(Check(name, _serves(name, url), f"read {logs / name}.log") for name, url in health_urls.items()),
    ]


def _supervisor(settings: Settings) -> str:
    told = state_file.read(Home(settings.home).state_file, Processes)
    if told is None:
        raise Ailing("no supervisor has run in this home")
    try:
        os.kill(told.supervisor_pid, 0)
    except ProcessLookupError:
        raise Ailing(f"process {told.supervisor_pid} has ended") from None
    except PermissionError:
        return f"process {told.supervisor_pid}, of another user"
    unready = [name for name, process in told.processes.items() if process.state is not State.READY]
    if unready:
        raise Ailing(f"not ready: {', '.join(unready)}", "read their logs in the home's `logs` folder")
    restarts = sum(process.restarts for process in told.processes.values())
    return f"process {told.supervisor_pid}, {len(told.processes)} processes, {restarts} restarts"


def _serves(name: str, url: str) -> Callable[[Settings], str]:
    def ask(settings: Settings) -> str:
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as response:
                return f"{url} answers {response.status}{_restarts(settings, name)}"
        except urllib.error.HTTPError as error:
            said = error.read(DETAIL_CHARACTERS_MAX).decode("utf-8", "replace")
            raise Ailing(f"{url} answers {error.code}: {said}{_restarts(settings, name)}") from error
        except OSError as error:
            raise Ailing(
                f"{url} does not answer ({error}){_restarts(settings, name)}", _start_remedy(settings, name)
            ) from error

    return ask


def _start_remedy(settings: Settings, name: str) -> str:
    """A supervisor that runs starts its processes itself, and refuses a second one beside it."""
    home = Home(settings.home)
    told = state_file.read(home.state_file, Processes)
    if told is None or name not in told.processes or not is_alive(told.supervisor_pid):
        return START
    return f"process {told.supervisor_pid} starts it again; read {home.logs / name}.log"


def _restarts(settings: Settings, name: str) -> str:
    told = state_file.read(Home(settings.home).state_file, Processes)
    if told is None or name not in told.processes:
        return ""
    process = told.processes[name]
    return f"; {process.state.value}, {process.restarts} restarts"

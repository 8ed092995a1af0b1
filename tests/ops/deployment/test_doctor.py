"""The doctor says what does not serve and what to do, and finds nothing where all is well."""

from __future__ import annotations

import http.server
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops import state_file
from ops.deployment.doctor import Ailing, Check, Finding, Warned, all_well, diagnose
from ops.embedded.home import Home
from ops.embedded.server_state import Servers, ServerState
from ops.embedded.stack import ServerUrls
from ops.processes.process_state import Processes, ProcessState, State
from pipeline.runtime.settings import Settings
from tests.ops.embedded.test_home import ended_pid


class Answer(http.server.BaseHTTPRequestHandler):
    """200 on /ready, 503 with a reason on anything else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ready" else 503)
        self.end_headers()
        self.wfile.write(b"still reading quizzes")

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def nowhere(tmp_path: Path) -> Settings:
    """Settings whose servers do not exist."""
    return Settings.from_env(
        {
            "QUIZSTREAM_HOME": str(tmp_path / "home"),
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:9/none",
            "REDIS_URL": "redis://127.0.0.1:9/0",
        }
    )


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_where_nothing_runs_every_finding_says_what_to_do(nowhere: Settings) -> None:
    findings = diagnose(nowhere, {"edge": "http://127.0.0.1:9/health/ready"})
    assert not all_well(findings)
    assert {finding.name for finding in findings if not finding.ok} == {
        *("home", "kafka", "postgres", "valkey", "supervisor", "edge"),
    }
    assert all(finding.remedy and finding.detail and "\n" not in finding.detail for finding in findings)
    assert "secret" not in repr(findings)


def test_where_all_serves_there_is_nothing_to_do(stack: ServerUrls, nowhere: Settings, web: str) -> None:
    home = Home(nowhere.home)
    home.prepare(free_bytes_min=0)
    alive = Processes(threading.get_native_id(), {"edge": ProcessState(State.READY, 1, restarts=2)})
    state_file.write(home.state_file, alive)
    settings = replace(
        nowhere,
        kafka_bootstrap_servers=stack.kafka_bootstrap,
        database_url=stack.database_url,
        redis_url=stack.redis_url,
    )
    findings = diagnose(
        settings, {"edge": f"{web}/ready"}, [Check("topics", lambda _: "14 there", "", "kafka")]
    )
    assert [finding for finding in findings if not finding.ok] == []
    assert by_name(findings)["edge"].detail.endswith("ready, 2 restarts")
    assert by_name(findings)["topics"].detail == "14 there"


def test_a_process_that_runs_but_does_not_serve_is_told_with_its_own_words(
    nowhere: Settings, web: str
) -> None:
    found = by_name(diagnose(nowhere, {"worker": f"{web}/not-ready"}))["worker"]
    assert not found.ok
    assert "503: still reading quizzes" in found.detail
    assert found.remedy.endswith("worker.log")


def test_a_dead_supervisor_is_seen_though_its_file_is_there(nowhere: Settings) -> None:
    home = Home(nowhere.home)
    home.prepare(free_bytes_min=0)
    pid = ended_pid()
    state_file.write(home.state_file, Processes(pid, {}))
    assert by_name(diagnose(nowhere, {}))["supervisor"].detail == f"process {pid} has ended"


def test_a_check_is_not_asked_while_what_it_needs_does_not_answer(nowhere: Settings) -> None:
    asked: list[str] = []

    def ask(_settings: Settings) -> str:
        asked.append("topics")
        return "there"

    found = by_name(diagnose(nowhere, {}, [Check("topics", ask, "apply the topology", needs="kafka")]))
    assert asked == []
    assert found["topics"] == Finding("topics", False, "not checked: kafka does not answer", "see kafka")


def test_a_warning_is_no_failure(nowhere: Settings) -> None:
    def ask(_settings: Settings) -> str:
        raise Warned("124 are open")

    findings = diagnose(nowhere, {}, [Check("dead letters", ask, "look at them")])
    finding = by_name(findings)["dead letters"]
    assert finding == Finding("dead letters", True, "124 are open", "look at them", warning=True)
    assert all_well([finding])


def test_an_ailing_check_may_name_its_own_remedy(nowhere: Settings) -> None:
    def ask(_settings: Settings) -> str:
        raise Ailing("two migrations are pending", "run `quizstream up`")

    found = by_name(diagnose(nowhere, {}, [Check("migrations", ask, "look around")]))
    assert found["migrations"] == Finding(
        "migrations", False, "two migrations are pending", "run `quizstream up`"
    )


def owned(settings: Settings, **servers: ServerState) -> None:
    """A home whose owner runs: this process."""
    home = Home(settings.home)
    home.prepare(free_bytes_min=0)
    state_file.write(home.server_states_file, Servers(os.getpid(), servers))


def test_a_server_that_ended_is_told_with_what_happens_next_and_an_advice_that_is_not_refused(
    nowhere: Settings,
) -> None:
    now_s = time.time()
    dead = ServerState(State.WAITING, None, 2, -signal.SIGKILL, now_s - 12, now_s + 30, "port 1 is taken")
    owned(nowhere, postgres=dead)
    state_file.write(
        Home(nowhere.home).state_file, Processes(os.getpid(), {"edge": ProcessState(State.WAITING, None, 1)})
    )
    findings = by_name(diagnose(nowhere, {"edge": "http://127.0.0.1:9/health/ready"}))
    found = findings["postgres"]
    assert not found.ok
    assert re.search(r"postgres ended \d+ s ago \(SIGKILL\), 2 restarts", found.detail)
    assert "port 1 is taken" in found.detail
    assert re.search(r"is started again in \d+ s", found.detail)
    # `quizstream up` alone would be refused: this process has the home.
    for name in ("postgres", "edge"):
        assert f"process {os.getpid()} starts it again" in findings[name].remedy
    assert "`quizstream down`, then `quizstream up`" in found.remedy
    # It started no Kafka: that is given by its URL.
    assert findings["kafka"].remedy == "start the server that KAFKA_BOOTSTRAP_SERVERS names"


def test_a_server_that_came_back_is_told_and_one_of_three_brokers_that_did_not_is_a_warning(
    stack: ServerUrls, nowhere: Settings
) -> None:
    settings = replace(nowhere, kafka_bootstrap_servers=stack.kafka_bootstrap, redis_url=stack.redis_url)
    now_s = time.time()
    owned(
        nowhere,
        valkey=ServerState(State.READY, 1, 4, 1, now_s - 100),
        **{
            "kafka-1": ServerState(State.READY, 2),
            "kafka-2": ServerState(State.STARTING, 3, 1, -signal.SIGKILL, now_s - 5),
        },
    )
    findings = by_name(diagnose(settings, {}))
    assert findings["valkey"].ok
    assert not findings["valkey"].warning
    assert re.search(
        r"valkey ended \d+ s ago \(exit status 1\), 4 restarts, runs again", findings["valkey"].detail
    )
    assert findings["kafka"].warning
    assert re.search(r"kafka-2 ended \d+ s ago \(SIGKILL\), 1 restarts, starting", findings["kafka"].detail)


def test_the_state_of_an_owner_that_has_ended_changes_no_advice(nowhere: Settings) -> None:
    home = Home(nowhere.home)
    home.prepare(free_bytes_min=0)
    state_file.write(home.server_states_file, Servers(ended_pid(), {"postgres": ServerState(State.READY, 1)}))
    assert by_name(diagnose(nowhere, {}))["postgres"].remedy.startswith("start it with `quizstream up`")

"""The doctor says what does not serve and what to do, and finds nothing where all is well."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.deployment.doctor import Ailing, Check, Finding, Warned, all_well, diagnose
from ops.embedded.home import Home
from ops.embedded.stack import ServerUrls
from ops.processes import process_state
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
    process_state.write(home.state_file, alive)
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
    process_state.write(home.state_file, Processes(pid, {}))
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

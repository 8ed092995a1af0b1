"""Two of three brokers gone: nobody is told yes, nothing is lost, and work resumes without anybody's help."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ops import locate
from ops.audit.reconcile import reconcile
from ops.chaos.load import Load
from ops.embedded.stack import DATABASE_ENV, REDIS_ENV, EmbeddedStack, ServerUrls
from ops.processes import table
from ops.processes.supervisor import Supervisor
from pipeline.runtime.settings import Settings
from tests.support.edge import Answer, Edge, prepare
from tests.support.ports import free_ports
from tests.support.scenario import Scenario, a_scenario, until

HEAP_MIB = 384
CLIENTS = 8
READY_TIMEOUT_S = 60.0
RESUMES_WITHIN_S = 30.0  # of the brokers' return: what is promised
ONLY_KAFKA = {DATABASE_ENV: "not started", REDIS_ENV: "not started"}


@pytest.fixture
def home(stack: ServerUrls) -> Iterator[Path]:
    """`stack` is asked for only because it says whether servers can start here at all."""
    folder = Path(tempfile.mkdtemp(prefix="quizstream-brokers-"))
    folder.chmod(0o755)  # PostgreSQL's own user passes through
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def edge_process(settings: Settings) -> Iterator[tuple[Edge, Supervisor]]:
    """The edge as it runs everywhere: a process of its own, under the supervisor."""
    topology = prepare(settings)
    specs = table.specs(settings, locate.as_env(settings))
    supervisor = Supervisor([spec for spec in specs if spec.name == "edge"], settings.home / "logs")
    supervisor.start()
    try:
        assert supervisor.wait_ready(READY_TIMEOUT_S) == []
        yield Edge(settings.port_base, settings, topology), supervisor
    finally:
        supervisor.stop()


@dataclass
class Clients:
    """Post one completion after the other, each until it is accepted, as a page with a queue would."""

    edge: Edge
    accepted: dict[str, str] = field(default_factory=dict)
    refusals: list[Answer] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def posting(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._post_all, client) for client in range(CLIENTS)]
            try:
                yield
            finally:
                self.stopping.set()
        for client in clients:
            client.result()

    def _post_all(self, client: int) -> None:
        number = 0
        while not self.stopping.wait(0.05):
            key = f"{client}-{number}"
            answer = self.edge.submit("survey", {"answers": {"color": "blue"}, "completion_id": key})
            if answer.status == 202:
                self.accepted[key] = answer.json["completion_id"]
                number += 1
            else:
                self.refusals.append(answer)

    def more_are_accepted(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        so_far = len(self.accepted)
        until(lambda: len(self.accepted) > so_far + 5 * CLIENTS, "completions are accepted", timeout_s)


@pytest.mark.full
def test_the_edge_refuses_while_two_are_gone_and_accepts_again_by_itself(home: Path, namespace: str) -> None:
    ports = free_ports()
    brokers = EmbeddedStack(home, ports, env=ONLY_KAFKA, brokers=3, kafka_heap_mib=HEAP_MIB)
    with brokers:
        settings = Settings.from_env(
            {
                "QUIZSTREAM_HOME": str(home),
                "QUIZSTREAM_PORT_BASE": str(ports.base),
                "QUIZSTREAM_NAMESPACE": namespace,
            }
        )
        with edge_process(settings) as (edge, supervisor):
            clients = Clients(edge)
            with clients.posting():
                clients.more_are_accepted()
                gone = controller_and_another(brokers)
                brokers.kill_broker(*gone)
                before = len(clients.refusals)
                until(lambda: len(clients.refusals) > before + 5 * CLIENTS, "refusals while two are gone")
                accepted = len(clients.accepted)
                until(lambda: len(clients.refusals) > before + 10 * CLIENTS, "refusals as long as they are")
                assert len(clients.accepted) == accepted
                brokers.start_broker(*gone)
                clients.more_are_accepted(RESUMES_WITHIN_S)
            assert supervisor.states()["edge"].restarts == 0
            for refused in clients.refusals:
                assert (refused.status, refused.problem) == (503, "log-unavailable")
                assert int(refused.headers["retry-after"]) >= 1
            in_topic = {completion.completion_id for completion in edge.completions()}
        assert set(clients.accepted.values()) <= in_topic


def controller_and_another(stack: EmbeddedStack) -> tuple[int, int]:
    controller = stack.controller_id()
    assert controller is not None
    return controller, min({1, 2, 3} - {controller})


RATE_PER_S = 60
PEOPLE = 40_000
SETTLE_TIMEOUT_S = 120.0
GONE_S = 15.0  # longer than every session time-out of a group


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_whole_pipeline_resumes_by_itself(home: Path, namespace: str, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.txt"
    ports = free_ports()
    brokers = EmbeddedStack(home, ports, brokers=3, kafka_heap_mib=HEAP_MIB)
    replicated = {"QUIZSTREAM_REPLICATION_FACTOR": "3"}
    with (
        brokers as urls,
        a_scenario(urls, home / "pipeline", namespace, more_env=replicated) as scenario,
    ):
        with scenario.under_load(RATE_PER_S, 1, PEOPLE, accepted) as load:
            everything_moves(scenario, load)
            for node_id in reversed(controller_and_another(brokers)):
                brokers.kill_broker(node_id)
                everything_moves(scenario, load)
                brokers.start_broker(node_id)
            gone = controller_and_another(brokers)
            brokers.kill_broker(*gone)
            retries = load.tally.retries
            until(lambda: load.tally.retries > retries + 10, "the edge refuses")
            time.sleep(GONE_S)
            brokers.start_broker(*gone)
            back_s = time.monotonic()
            until(more_than(lambda: load.tally.accepted, 20), "accepted again", RESUMES_WITHIN_S)
            print(f"the edge accepts again {time.monotonic() - back_s:.1f} s after the brokers' return")
            everything_moves(scenario, load, back_s + RESUMES_WITHIN_S - time.monotonic())
            print(f"everything moves again {time.monotonic() - back_s:.1f} s after it")
        report = reconcile(scenario.found, accepted, SETTLE_TIMEOUT_S)
        assert report.ok, report.breaches
        assert report.ambiguous == 0
        states = scenario.crew.supervisor.states()
        assert {name: state.restarts for name, state in states.items()} == dict.fromkeys(states, 0)


def everything_moves(scenario: Scenario, load: Load, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Returns once completions are accepted, archived, judged, delivered and sent that were not before."""
    deadline_s = time.monotonic() + timeout_s
    counts: dict[str, Callable[[], int]] = {
        "completions are accepted": lambda: load.tally.accepted,
        "completions are archived": lambda: scenario.value("SELECT count(*) FROM completions"),
        "outcomes are judged": lambda: scenario.value("SELECT count(*) FROM outcomes"),
        "deliveries come": lambda: scenario.value("SELECT count(*) FROM deliveries"),
        "messages are sent": lambda: scenario.value(
            "SELECT count(*) FROM deliveries WHERE attempt_id IS NOT NULL"
        ),
    }
    for what, moved in {what: more_than(count, 20) for what, count in counts.items()}.items():
        until(moved, what, deadline_s - time.monotonic())


def more_than(count: Callable[[], int], difference: int) -> Callable[[], bool]:
    """Whether there are that many more than at this call."""
    before = count()
    return lambda: count() > before + difference

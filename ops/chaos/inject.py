"""Carries a fault out on the running system, and returns once it is over."""

from __future__ import annotations

import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from confluent_kafka import Producer

from ops.chaos.background import Background
from ops.chaos.crew import Crew
from ops.chaos.provider import Provider, rules_of
from ops.chaos.proxy import Link, Mode
from ops.chaos.schedule import Fault
from ops.chaos.servers import Servers
from ops.deployment import Deployment
from ops.process_state import State

COPY_WAIT_S_MAX = 5.0
BACK_TIMEOUT_S = 60.0
POLL_S = 0.05
POISON_RECORDS_MAX = 3
PROVIDER_TIMEOUT_S = 20.0
# Who takes over from a process that stands still.
STAND_INS = {
    "worker": "worker-3",
    "whatsapp-sender": "whatsapp-sender-1",
    "postgres-sink": "postgres-sink-1",
}
_COPYING = """
SELECT pid FROM pg_stat_activity
WHERE state = 'active' AND query LIKE 'COPY %' AND pid <> pg_backend_pid() AND datname = current_database()
"""
_SESSIONS = """
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname = current_database()
"""


@dataclass(frozen=True)
class Subject:
    """Everything that faults are done to. `found` knows the servers without any link between."""

    found: Deployment
    crew: Crew
    servers: Servers
    links: dict[str, Link]
    background: Background
    seed: int


class Injector:
    """One method a kind of fault; each may be called from any thread."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._provider = Provider(subject.found.settings.simulator_url)
        self._poisoned: list[tuple[str, int, int]] = []
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def poisoned(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every undecodable record that was put somewhere."""
        return list(self._poisoned)

    def inject(self, fault: Fault) -> str:
        """Returns what there is to say about it, once it is over and what it hit is back.

        Waits where an earlier fault on the same target takes longer than the schedule thought.
        """
        deeds: dict[str, Callable[[Fault], str]] = {
            "process": self._process,
            "worker": self._join,
            "kafka": self._kafka,
            "postgres": self._postgres,
            "valkey": self._restart,
            "link": self._link,
            "provider": self._at_provider,
            "poison": self._poison,
        }
        with self._lock:
            turn = self._turns[fault.target]
        with turn:
            return deeds[fault.kind.partition(".")[0]](fault)

    def _process(self, fault: Fault) -> str:
        match fault.kind:
            case "process.second":
                return self._join(fault)
            case "process.stop":
                return self._stand_still(fault)
        how = signal.SIGKILL if fault.kind == "process.kill" else signal.SIGTERM
        supervisor = self._subject.crew.supervisor
        restarts = supervisor.states()[fault.target].restarts
        supervisor.kill(fault.target, how)
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while time.monotonic() < deadline_s:
            now = supervisor.states()[fault.target]
            if now.restarts > restarts and now.state is State.READY:
                return f"last exit {now.last_exit}"
            time.sleep(POLL_S)
        return f"not ready again within {BACK_TIMEOUT_S:.0f} s"

    def _stand_still(self, fault: Fault) -> str:
        crew = self._subject.crew
        stand_in = STAND_INS.get(fault.target)
        if stand_in is not None:
            crew.join(stand_in)
        crew.supervisor.kill(fault.target, signal.SIGSTOP)
        try:
            time.sleep(fault.duration_s)
        finally:
            crew.supervisor.kill(fault.target, signal.SIGCONT)
            if stand_in is not None:
                crew.leave(stand_in)
        return f"stand-in: {stand_in or 'none'}"

    def _join(self, fault: Fault) -> str:
        self._subject.crew.join(fault.target)
        try:
            time.sleep(fault.duration_s)
        finally:
            self._subject.crew.leave(fault.target)
        return ""

    def _kafka(self, fault: Fault) -> str:
        kafka = self._subject.servers.kafka
        one = 1 + int(fault.size * kafka.count) % kafka.count
        if fault.kind == "kafka.freeze":
            self._subject.servers.freeze_broker(one, fault.duration_s)
            return f"broker {one}, {self._edge_serves()}"
        match fault.kind:
            case "kafka.controller":
                gone = [kafka.controller_id() or one]
            case "kafka.two_gone":
                gone = [one, 1 + one % kafka.count]
            case _:
                gone = [one]
        kafka.kill_broker(*gone)
        time.sleep(fault.duration_s)
        kafka.start_broker(*gone)
        return f"brokers {gone}, {self._edge_serves()}"

    def _restart(self, fault: Fault) -> str:
        servers = self._subject.servers
        servers.kill(fault.target)
        time.sleep(fault.duration_s)
        servers.start_one(fault.target)
        return ""

    def _postgres(self, fault: Fault) -> str:
        match fault.kind:
            case "postgres.kill":
                return self._restart(fault)
            case "postgres.lock":
                with self._database() as connection, connection.transaction():
                    connection.execute("LOCK TABLE deliveries IN EXCLUSIVE MODE")
                    time.sleep(fault.duration_s)
                return ""
        with self._database() as connection:
            deadline_s = time.monotonic() + COPY_WAIT_S_MAX
            while not (pids := connection.execute(_COPYING).fetchall()) and time.monotonic() < deadline_s:
                time.sleep(0.001)
            copying = len(pids)
            for (pid,) in pids or connection.execute(_SESSIONS).fetchall():
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        return f"{copying} in the middle of a COPY"

    def _link(self, fault: Fault) -> str:
        link, background = self._subject.links[fault.target], self._subject.background
        if fault.kind == "link.half_close":
            return f"{background.do(link.half_close())} connections"
        modes: dict[str, Mode] = {
            "link.delay": "delay",
            "link.drop": "drop",
            "link.replies_lost": "replies_lost",
        }
        background.do(link.misbehave(modes[fault.kind]))
        try:
            time.sleep(fault.duration_s)
        finally:
            background.do(link.misbehave("pass"))
        return ""

    def _at_provider(self, fault: Fault) -> str:
        self._reach_provider(lambda: self._do_at_provider(fault))
        time.sleep(fault.duration_s)
        self._reach_provider(lambda: self._undo_at_provider(fault))
        return ""

    def _do_at_provider(self, fault: Fault) -> None:
        if fault.kind == "provider.webhooks":
            self._provider.behave(
                duplicate_ratio=0.5, sent_delay_s=4.0, delivered_delay_s=4.0, read_delay_s=4.0
            )
            return
        for rule in rules_of(fault.kind, fault.size):
            self._provider.add(rule)

    def _undo_at_provider(self, fault: Fault) -> None:
        if fault.kind == "provider.webhooks":
            self._provider.behave(
                duplicate_ratio=0.02, sent_delay_s=0.05, delivered_delay_s=0.2, read_delay_s=0.5
            )

    def _reach_provider(self, deed: Callable[[], None]) -> None:
        """The simulator may be down itself at this moment."""
        deadline_s = time.monotonic() + PROVIDER_TIMEOUT_S
        while True:
            try:
                deed()
                return
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(POLL_S)

    def _poison(self, fault: Fault) -> str:
        topic = self._subject.found.topology.topic(fault.target).name
        rng = random.Random(f"{self._subject.seed}:{fault.at_s}")
        bootstrap = self._subject.found.settings.kafka_bootstrap_servers
        producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "log_level": 0})
        failures: list[str] = []

        def reported(error: object, message: object) -> None:
            if error is not None:
                failures.append(str(error))
            else:
                with self._lock:
                    where = (message.topic(), message.partition(), message.offset())  # type: ignore[attr-defined]
                    self._poisoned.append(where)

        count = 1 + int(fault.size * POISON_RECORDS_MAX)
        for number in range(count):
            value = [b"", b"\x00", b"no record at all", rng.randbytes(200)][rng.randrange(4)]
            producer.produce(topic, value, f"poison {number}".encode(), on_delivery=reported)
        producer.flush(30.0)
        return f"{count - len(failures)} records"

    def _database(self) -> psycopg.Connection[tuple[int]]:
        """Patient: the server may be on its way back from another fault."""
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            with suppress(psycopg.OperationalError):
                return psycopg.connect(self._subject.found.settings.database_url, connect_timeout=3)
            if time.monotonic() > deadline_s:
                raise TimeoutError("PostgreSQL does not come back")
            time.sleep(POLL_S)

    def _edge_serves(self) -> str:
        began_s = time.monotonic()
        while time.monotonic() - began_s < BACK_TIMEOUT_S:
            try:
                with urllib.request.urlopen(
                    f"{self._subject.found.settings.edge_url}/health/ready", timeout=2.0
                ):
                    return f"the edge is ready {time.monotonic() - began_s:.1f} s after"
            except (urllib.error.URLError, OSError):
                time.sleep(POLL_S)
        return f"the edge is not ready within {BACK_TIMEOUT_S:.0f} s"

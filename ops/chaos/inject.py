"""Injects a fault into the running system; returns once it is over."""

from __future__ import annotations

import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ops.chaos.burst import Bursts
from ops.chaos.crew import Crew
from ops.chaos.ledger import routes
from ops.chaos.machine.background import Background
from ops.chaos.machine.clocks import Clocks, offset_s
from ops.chaos.machine.database import BACK_TIMEOUT_S, POLL_S, Database, DidNotHappen
from ops.chaos.machine.links import Links
from ops.chaos.machine.memory import out_of_memory
from ops.chaos.machine.midnight import HandIn, Midnights
from ops.chaos.machine.proxy import Mode
from ops.chaos.machine.servers import Servers
from ops.chaos.provider import Provider, rules_of
from ops.chaos.schedule import Fault
from ops.embedded.stack import broker_name
from ops.locate import Deployment
from ops.processes.process_state import State
from pipeline.runtime import clock
from pipeline.runtime.kafka_clients import idempotent_producer

POISON_RECORDS_MAX = 3
POISON_TIMEOUT_MS = 30_000
PROVIDER_TIMEOUT_S = 20.0
SENDER = "whatsapp-sender"
ARCHIVED_WAIT_S_MAX = 10.0
COMMITTED_WAIT_S = 0.1  # for a commit that the server had already received when its sender stopped
# The process that takes over from a stopped one.
STAND_INS = {
    "worker": "worker-3",
    "whatsapp-sender": "whatsapp-sender-1",
    "postgres-sink": "postgres-sink-1",
}


@dataclass(frozen=True)
class Done:
    """The result of a fault. `calls`: attempts in flight at its time; None if unknown."""

    note: str
    calls: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Subject:
    """The system under test. `found` has the servers' addresses without links between."""

    found: Deployment
    crew: Crew
    servers: Servers
    links: Links
    clocks: Clocks
    background: Background
    seed: int


def _counted(calls: Sequence[str] | None) -> str:
    return "" if calls is None else f", {len(calls)} calls in flight"


class Injector:
    """One method per kind of fault; thread-safe."""

    def __init__(
        self, subject: Subject, hand_in: HandIn, bursts: Bursts, attack: Callable[[float], str]
    ) -> None:
        """`attack`: for so many seconds; returns a note. Raises DidNotHappen."""
        self._subject = subject
        settings = subject.found.settings
        self._database = Database(settings.database_url, settings.home / "logs")
        self._midnights = Midnights(self._database, hand_in, clock.today)
        self._bursts = bursts
        self._attack = attack
        self._provider = Provider(subject.found.settings.simulator_url)
        self._poisoned: list[tuple[str, int, int]] = []
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def poisoned(self) -> list[tuple[str, int, int]]:
        """Return topic, partition and offset of every poison record that was published."""
        return list(self._poisoned)

    def inject(self, fault: Fault) -> Done:
        """Inject the fault; return once it is over and its target works again.

        Raises the error that prevented it. Waits while an earlier fault on the same target still lasts.
        """
        deeds: dict[str, Callable[[Fault], str | Done]] = {
            "process": self._process,
            "worker": self._join,
            "kafka": self._kafka,
            "server": self._server,
            "postgres": self._postgres,
            "clock": self._clock,
            "valkey": self._valkey,
            "link": self._link,
            "load": self._load,
            "provider": self._at_provider,
            "route": self._route,
            "poison": self._poison,
        }
        with self._lock:
            turn = self._turns[fault.target]
        with turn:
            done = deeds[fault.kind.partition(".")[0]](fault)
        return done if isinstance(done, Done) else Done(done)

    def _load(self, fault: Fault) -> str:
        return (self._attack if fault.kind == "load.attack" else self._bursts.one)(fault.duration_s)

    def _process(self, fault: Fault) -> str | Done:
        match fault.kind:
            case "process.second":
                return self._join(fault)
            case "process.stop":
                return self._stand_still(fault)
        how = signal.SIGKILL if fault.kind == "process.kill" else signal.SIGTERM
        supervisor = self._subject.crew.supervisor
        restarts = supervisor.states()[fault.target].restarts
        try:
            calls = self._calls_of(fault.target)
        finally:  # a sender that could not be looked at must not stand still
            supervisor.kill(fault.target, how)
            supervisor.kill(fault.target, signal.SIGCONT)
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while time.monotonic() < deadline_s:
            now = supervisor.states()[fault.target]
            if now.restarts > restarts and now.state is State.READY:
                return Done(f"last exit {now.last_exit}{_counted(calls)}", calls)
            time.sleep(POLL_S)
        return Done(f"not ready again within {BACK_TIMEOUT_S:.0f} s{_counted(calls)}", calls)

    def _calls_of(self, process: str) -> tuple[str, ...] | None:
        """Stop a sender and return its calls in flight; None for any other process."""
        if process != SENDER:
            return None
        self._subject.crew.supervisor.kill(process, signal.SIGSTOP)
        time.sleep(COMMITTED_WAIT_S)
        return self._database.calling()

    def _stand_still(self, fault: Fault) -> Done:
        crew = self._subject.crew
        stand_in = STAND_INS.get(fault.target)
        if stand_in is not None:
            crew.join(stand_in)
        try:
            calls = self._calls_of(fault.target)
            crew.supervisor.kill(fault.target, signal.SIGSTOP)
            time.sleep(fault.duration_s)
        finally:
            crew.supervisor.kill(fault.target, signal.SIGCONT)
            if stand_in is not None:
                crew.leave(stand_in)
        return Done(f"stand-in: {stand_in or 'none'}{_counted(calls)}", calls)

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
        self._subject.servers.kill_brokers(*gone)
        time.sleep(fault.duration_s)
        self._subject.servers.start_brokers(*gone)
        return f"brokers {gone}, {self._edge_serves()}"

    def _server(self, fault: Fault) -> str:
        servers = self._subject.servers
        if fault.target != "kafka":
            return servers.kill_watched(fault.target, BACK_TIMEOUT_S)
        one = 1 + int(fault.size * servers.kafka.count) % servers.kafka.count
        return f"{servers.kill_watched(broker_name(one), BACK_TIMEOUT_S)}, {self._edge_serves()}"

    def _restart(self, fault: Fault) -> str:
        servers = self._subject.servers
        servers.kill(fault.target)
        time.sleep(fault.duration_s)
        servers.start_one(fault.target)
        return ""

    def _postgres(self, fault: Fault) -> str:
        database = self._database
        deeds: dict[str, Callable[[], str]] = {
            "postgres.kill": lambda: self._restart(fault),
            "postgres.lock": lambda: database.lock(fault.duration_s),
            "postgres.terminate": database.terminate,
            "postgres.deadlock": database.deadlock,
            "postgres.disk_full": lambda: database.disk_full(fault.duration_s),
            "postgres.midnight": self._midnights.pass_one,
        }
        return deeds[fault.kind]()

    def _link(self, fault: Fault) -> str:
        links, background = self._subject.links[fault.target], self._subject.background
        if fault.kind == "link.half_close":
            return f"{sum(background.do(link.half_close()) for link in links)} connections"
        connections = sum(link.connections for link in links)
        modes: dict[str, Mode] = {
            "link.delay": "delay",
            "link.drop": "drop",
            "link.replies_lost": "replies_lost",
        }
        for link in links:
            background.do(link.misbehave(modes[fault.kind]))
        try:
            time.sleep(fault.duration_s)
        finally:
            for link in links:
                background.do(link.misbehave("pass"))
        return f"{connections} connections at the start"

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

    def _route(self, fault: Fault) -> str:
        with self._database.connect() as connection:
            if fault.kind == "route.hold":
                return routes.hold(connection, fault.duration_s, fault.size)
            return routes.weigh(connection, fault.size)

    def _reach_provider(self, deed: Callable[[], None]) -> None:
        """Retry: the simulator itself may be down now."""
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
        producer = idempotent_producer(
            bootstrap,
            "quizstream-chaos",
            record_bytes_max=self._subject.found.topology.record_bytes_max,
            linger_ms=0,
            delivery_timeout_ms=POISON_TIMEOUT_MS,
        )
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
        producer.flush(POISON_TIMEOUT_MS / 1000)
        return f"{count - len(failures)} records"

    def _clock(self, fault: Fault) -> str:
        by_s, began_s = offset_s(fault.target, fault.size), time.time()
        asked = self._subject.clocks.wrong_for(fault.target, by_s, fault.duration_s)
        note = f"{by_s:+.0f} s, {'read' if asked else 'not known to be read'} meanwhile"
        if fault.target != "edge":
            return note
        from_s, to_s = began_s + by_s, time.time() + by_s
        deadline_s = time.monotonic() + ARCHIVED_WAIT_S_MAX
        while (stamped := self._database.stamped(from_s, to_s, began_s)) == 0:
            if time.monotonic() > deadline_s:
                break
            time.sleep(POLL_S)
        return f"{note}, {stamped} completions archived with such a time so far"

    def _valkey(self, fault: Fault) -> str:
        if fault.kind == "valkey.restart":
            return self._restart(fault)
        refused = out_of_memory(self._subject.found.settings.redis_url, fault.duration_s)
        if refused == 0:
            raise DidNotHappen("no write was rejected")
        return f"{refused} writes refused"

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

"""One Kafka broker as one process: broker and KRaft controller in one, on loopback.

Every path given to Java is relative to the working directory (the broker's folder): `log.dirs` splits at
commas, a class path at colons, and a properties file is Latin-1.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.embedded.home import Home
from ops.embedded.server import Command, RunningServer, run_to_end
from pipeline.runtime.ports import LOOPBACK, BrokerPorts, Ports

FORMAT_TIMEOUT_S = 60.0
COORDINATOR_PARTITIONS = 8  # of the offsets topic: enough to spread groups, few enough to load at once
SESSION_TIMEOUT_MS = 4000  # a killed broker may register again only after this; Kafka's default is 9 s
FORMATTED = "formatted"  # exists only after a format that ran to its end

_PROPERTIES = """\
process.roles=broker,controller
node.id={node_id}
{quorum}
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=data
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync_min}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions={coordinator_partitions}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync_min}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync_min}
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=2
log.cleaner.dedupe.buffer.size=33554432
log.segment.delete.delay.ms=1000
metadata.max.idle.interval.ms=5000
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms={session_timeout_ms}
"""

# Brokers of one home are stopped together, by us or by the owner's death. Handing leaderships over then waits
# for a controller that has left already, which Kafka does for five minutes.
_OF_SEVERAL = "controlled.shutdown.enable=false\n"

# Several are there to be killed and started. Without the second compiler a start of three takes half the
# work: 10 s of one core for 20 s, measured on Java 25.
_QUICK_STARTS = ("-XX:TieredStopAtLevel=1",)

_LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {path}
appender.file.filePattern = {path}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c{{1}} - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 8MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(frozen=True, slots=True)
class Listener:
    """A further door for clients: who comes in at `port` is told to come back to `advertised_port`."""

    name: str
    port: int
    advertised_port: int


@dataclass(frozen=True, slots=True)
class Broker:
    """`of` is how many there are in the home: its node ids are 1 to `of`, each with a folder of its own."""

    home: Home
    ports: Ports
    node_id: int
    of: int
    further: Sequence[Listener] = ()

    @property
    def name(self) -> str:
        return "Kafka" if self.of == 1 else f"Kafka broker {self.node_id}"

    @property
    def listens(self) -> BrokerPorts:
        return self.ports.broker(self.node_id)

    @property
    def folder(self) -> Path:
        folder = self.home.path / "kafka"
        return folder if self.of == 1 else folder / str(self.node_id)

    @property
    def log(self) -> Path:
        return self.home.logs / ("kafka.log" if self.of == 1 else f"kafka-{self.node_id}.log")

    @property
    def is_formatted(self) -> bool:
        return (self.folder / FORMATTED).exists()

    def format(self, java: Path, jars: Path, cluster_id: str, inherited_fds: Sequence[int]) -> None:
        """Makes its storage, empty. Raises CannotStart."""
        self._write_files(jars)
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        # The voters of several are in the settings, where a home that moves to other ports takes them along;
        # those of a dynamic quorum are in its log, with the ports of old, and no leader would be found.
        voters = ("--standalone",) if self.of == 1 else ()
        arguments = ("format", *voters, "-t", cluster_id, "-c", "server.properties")
        quick = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
        step = f"{self.name}'s format"
        command = self._command(java, step, "kafka.tools.StorageTool", *arguments, options=quick)
        run_to_end(command, inherited_fds, FORMAT_TIMEOUT_S)
        (self.folder / FORMATTED).touch()

    def launch(self, java: Path, jars: Path, heap_mib: int, inherited_fds: Sequence[int]) -> RunningServer:
        """Starts it and returns at once. Raises CannotStart."""
        self._write_files(jars)
        heap = (
            f"-Xms{min(256, heap_mib)}m",
            f"-Xmx{heap_mib}m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            *(_QUICK_STARTS if self.of > 1 else ()),
        )
        command = self._command(java, self.name, "kafka.Kafka", "server.properties", options=heap)
        return RunningServer(command, inherited_fds)

    def _write_files(self, jars: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _point(self.folder / "jars", jars)
        relative_log = os.path.relpath(self.log, self.folder)
        (self.folder / "log4j2.properties").write_text(_LOG4J.format(path=relative_log))
        (self.folder / "server.properties").write_text(self.properties())

    def properties(self) -> str:
        """What the broker is told: as many replicas as there are brokers, and one of them may be away."""
        if self.of == 1:
            quorum = f"controller.quorum.bootstrap.servers={LOOPBACK}:{self.listens.controller}"
        else:
            voters = (
                f"{node_id}@{LOOPBACK}:{self.ports.broker(node_id).controller}"
                for node_id in range(1, self.of + 1)
            )
            quorum = f"controller.quorum.voters={','.join(voters)}"
        doors = [
            Listener("PLAINTEXT", self.listens.clients, self.listens.clients),
            Listener("CONTROLLER", self.listens.controller, self.listens.controller),
            *self.further,
        ]
        text = _PROPERTIES.format(
            node_id=self.node_id,
            quorum=quorum,
            listeners=",".join(f"{door.name}://{LOOPBACK}:{door.port}" for door in doors),
            advertised=",".join(f"{door.name}://{LOOPBACK}:{door.advertised_port}" for door in doors),
            protocols=",".join(f"{door.name}:PLAINTEXT" for door in doors),
            replicas=self.of,
            in_sync_min=max(1, self.of - 1),
            coordinator_partitions=COORDINATOR_PARTITIONS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
        )
        return text if self.of == 1 else text + _OF_SEVERAL

    def _command(
        self, java: Path, name: str, main_class: str, *arguments: str, options: Sequence[str]
    ) -> Command:
        return Command(
            name=name,
            argv=[
                *(
                    str(java),
                    *options,
                    "-Djava.awt.headless=true",
                    "-Dlog4j2.configurationFile=log4j2.properties",
                ),
                *("-cp", "jars/*", main_class, *arguments),
            ],
            cwd=self.folder,
            # In the C locale Java cannot name a file whose path has an accent.
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            log=self.log.with_name(f"{self.log.stem.replace('kafka', 'kafka-console')}.log"),
            stop_signal=signal.SIGTERM,
            own_log=self.log,
        )


def _point(link: Path, target: Path) -> None:
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def new_cluster_id(new_uuid: Callable[[], uuid.UUID] = uuid.uuid4) -> str:
    """22 characters, as Kafka makes them: never with a leading `-`, which its tools take for an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(new_uuid().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id

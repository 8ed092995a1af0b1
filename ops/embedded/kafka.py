"""Apache Kafka as one process: broker and KRaft controller in one, on loopback.

Every path given to Java is relative to the working directory (`kafka/` in the home): `log.dirs` splits at
commas, a class path at colons, and a properties file is Latin-1.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.embedded.home import Home
from ops.embedded.jars import cache_folder, provide, read_lock
from ops.embedded.java import find_java
from ops.embedded.ports import LOOPBACK, Ports
from ops.embedded.server import Command, RunningServer, run_to_end

HEAP_MIB_DEFAULT = 1024
FORMAT_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 180.0  # an idle machine needs 3 s; one with ten times its work must not be given up
PROBE_TIMEOUT_S = 5.0
COORDINATOR_PARTITIONS = 8  # of the offsets topic: enough to spread groups, few enough to load at once
SESSION_TIMEOUT_MS = 4000  # a killed broker may register again only after this; Kafka's default is 9 s
FORMATTED = "formatted"  # exists only after a format that ran to its end

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
controller.listener.names=CONTROLLER
log.dirs=data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions={coordinator_partitions}
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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

_LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ../logs/kafka.log
appender.file.filePattern = ../logs/kafka.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c{1} - %m%n
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


def start(
    home: Home,
    ports: Ports,
    inherited_fds: Sequence[int],
    progress: Callable[[str], None],
    heap_mib: int = HEAP_MIB_DEFAULT,
) -> tuple[RunningServer, str]:
    """Returns the server, its group coordinator loaded, and its bootstrap address. Raises CannotStart."""
    java = find_java()
    jars = provide(read_lock(), cache_folder() / "kafka-jars", progress)
    folder = home.path / "kafka"
    folder.mkdir(exist_ok=True)
    _point(folder / "jars", jars)
    (folder / "log4j2.properties").write_text(_LOG4J)
    (folder / "server.properties").write_text(
        _PROPERTIES.format(
            host=LOOPBACK,
            port=ports.kafka,
            controller_port=ports.kafka_controller,
            coordinator_partitions=COORDINATOR_PARTITIONS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
        )
    )

    def command(name: str, main_class: str, *arguments: str, options: Sequence[str]) -> Command:
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
            cwd=folder,
            # In the C locale Java cannot name a file whose path has an accent.
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            log=home.logs / "kafka-console.log",
            stop_signal=signal.SIGTERM,
            own_log=home.logs / "kafka.log",
        )

    if not (folder / FORMATTED).exists():
        shutil.rmtree(folder / "data", ignore_errors=True)
        progress("Kafka: formatting its storage")
        format_arguments = ("format", "--standalone", "-t", new_cluster_id(), "-c", "server.properties")
        quick = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
        run_to_end(
            command("Kafka's format", "kafka.tools.StorageTool", *format_arguments, options=quick),
            inherited_fds,
            FORMAT_TIMEOUT_S,
        )
        (folder / FORMATTED).touch()

    heap = (
        f"-Xms{min(256, heap_mib)}m",
        f"-Xmx{heap_mib}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
    )
    server = RunningServer(command("Kafka", "kafka.Kafka", "server.properties", options=heap), inherited_fds)
    bootstrap = f"{LOOPBACK}:{ports.kafka}"
    try:
        server.wait_ready(_Readiness(ports.kafka), READY_TIMEOUT_S)
        progress("Kafka is ready")
    except BaseException:
        server.stop()
        raise
    return server, bootstrap


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


class _Readiness:
    """Ready is: every partition of the group coordinator answers, which an open port does not say."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._waiting = list(one_group_per_partition(COORDINATOR_PARTITIONS))

    def __call__(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, self._port)) != 0:
                return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{self._port}", "log_level": 0})
        deadline = time.monotonic() + PROBE_TIMEOUT_S
        while self._waiting and time.monotonic() < deadline:
            answers = admin.describe_consumer_groups(self._waiting, request_timeout=PROBE_TIMEOUT_S)
            for group, answer in answers.items():
                try:
                    answer.result(PROBE_TIMEOUT_S)
                    self._waiting.remove(group)
                except (KafkaException, TimeoutError):
                    continue
        return not self._waiting


def one_group_per_partition(partitions: int) -> list[str]:
    """Group names that Kafka assigns to partitions 0, 1, ... of the offsets topic, one each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        name = f"ready-{number}"
        found.setdefault(_java_hash(name) % partitions, name)
        number += 1
    return [found[partition] for partition in range(partitions)]


def _java_hash(text: str) -> int:
    """`String.hashCode` as Kafka's `Utils.abs` makes it non-negative."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    signed = value - 2**32 if value >= 2**31 else value
    return 0 if signed == -(2**31) else abs(signed)

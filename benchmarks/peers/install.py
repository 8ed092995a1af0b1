"""Packages of the peers, fetched at first use, by hash, beside the project's jars.

None of them enters the project's own environment: their requirements conflict with its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure.deployment import Log
from ops.embedded import jars
from ops.embedded.jars import cache_folder
from pipeline.errors import CannotStart

PEERS = Path(__file__).resolve().parent
REQUIREMENTS = PEERS / "requirements.lock"
BULLMQ = PEERS / "bullmq"
KAFKA_STREAMS = PEERS / "kafka_streams"
NODE_MAJOR_MIN = 20
JAVA_RELEASE = "17"  # of Kafka's jars
INSTALL_TIMEOUT_S = 600.0


class Missing(CannotStart):
    """A peer cannot run here. The message is one line and names the missing program."""


def python(log: Log) -> Path:
    """The interpreter of the peers' own environment. Raises Missing."""
    folder = _folder("python", [REQUIREMENTS.read_bytes(), sys.version.encode()])
    interpreter = folder / "bin" / "python"
    if not _made(folder):
        log("installing the Python peers, by hash, into an environment of their own")
        _begin(folder)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run(
            [
                *(str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)),
            ]
        )
        _end(folder)
    return interpreter


def bullmq(log: Log) -> Path:
    """A folder with the BullMQ funnel and its packages. Raises Missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing(f"bullmq needs node {NODE_MAJOR_MIN} or newer, and npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"v(\d+)", version)
    if major is None or int(major[1]) < NODE_MAJOR_MIN:
        raise Missing(
            f"bullmq needs node {NODE_MAJOR_MIN} or newer, found {version.strip() or 'none that runs'}"
        )
    sources = [path for path in sorted(BULLMQ.iterdir()) if path.is_file()]
    folder = _folder("bullmq", [path.name.encode() + path.read_bytes() for path in sources])
    if not _made(folder):
        log("installing the BullMQ funnel's packages (npm ci)")
        _begin(folder)
        for source in sources:
            shutil.copy(source, folder)
        _run([npm, "ci", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"], folder)
        _end(folder)
    return folder


def kafka_streams(log: Log) -> list[Path]:
    """The class path of the Kafka Streams side, compiled. Raises Missing, CannotStart."""
    javac = shutil.which("javac")
    if javac is None:
        raise Missing("kafka-streams needs a javac (JDK 17 or newer): the Java of this project only runs")
    lock = KAFKA_STREAMS / "jars.lock"
    brokers = jars.provide(jars.read_lock(), cache_folder() / "kafka-jars", log)
    own = jars.provide(jars.read_lock(lock), cache_folder() / "peers" / "jars", log)
    path = [own / jar.file_name for jar in jars.read_lock(lock)]
    path += [brokers / jar.file_name for jar in jars.read_lock()]
    sources = sorted(KAFKA_STREAMS.glob("*.java"))
    folder = _folder("kafka-streams", [lock.read_bytes(), *(source.read_bytes() for source in sources)])
    if not _made(folder):
        log("compiling the Kafka Streams side")
        _begin(folder)
        classpath = os.pathsep.join(map(str, path))
        _run([javac, "--release", JAVA_RELEASE, "-cp", classpath, "-d", str(folder), *map(str, sources)])
        _end(folder)
    return [folder, *path]


def _folder(name: str, of: Sequence[bytes]) -> Path:
    """Another folder for other contents."""
    digest = hashlib.sha256(b"\0".join(of)).hexdigest()[:12]
    return cache_folder() / "peers" / f"{name}-{digest}"


def _made(folder: Path) -> bool:
    return (folder / ".made").is_file()


def _begin(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _end(folder: Path) -> None:
    """An incomplete installation has no such file, and is made again."""
    (folder / ".made").touch()


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{Path(command[0]).name} did not end in {INSTALL_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Missing(f"{Path(command[0]).name} ended with {done.returncode}: {' '.join(last)}")

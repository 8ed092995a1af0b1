"""Jars of servers: fetched by jgo, accepted only with the SHA-256 that is committed beside this file.

A lock file names every jar, so that a start resolves no dependencies. `python -m ops.embedded.jars 4.3`
resolves those of Kafka and writes their lock file with the newest 4.3.x. jgo works in Python, without Maven.
`ops.embedded.postgres_distribution` has a lock file of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CannotStart

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock")
CACHE_ENV = "QUIZSTREAM_CACHE"
DOWNLOADS_AT_ONCE = 8
DOWNLOAD_TRIES_MAX = 4
DOWNLOAD_TIMEOUT_S = 60

# (coordinate, file to make) -> makes the file. Raises any Exception when it cannot.
Fetch = Callable[["Jar", Path], None]


@dataclass(frozen=True, slots=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def read_lock(path: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """Lines of `group:artifact:version sha256:HEX`; `#` begins a comment. Raises CannotStart on any other."""
    jars = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match text.replace(" sha256:", ":").split(":"):
            case [group, artifact, version, sha256] if len(sha256) == 64:
                jars.append(Jar(group, artifact, version, sha256))
            case _:
                raise CannotStart(
                    f"{path} line {number} is not `group:artifact:version sha256:HEX`: restore the file."
                )
    if not jars:
        raise CannotStart(f"{path} names no jar: restore the file.")
    return tuple(jars)


def cache_folder(env: Mapping[str, str] | None = None) -> Path:
    """QUIZSTREAM_CACHE, else `quizstream` in the user's cache folder. Shared by every home of the user."""
    environment = os.environ if env is None else env
    if chosen := environment.get(CACHE_ENV):
        return Path(chosen).expanduser().absolute()
    parent = environment.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache").absolute() / "quizstream"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provide(
    jars: Sequence[Jar],
    folder: Path,
    progress: Callable[[str], None],
    fetch: Fetch | None = None,
    server: str = "Kafka",
) -> Path:
    """Returns `folder` once it holds every jar with its locked content, downloading what is missing.

    A jar in the folder with other content is fetched again. Raises CannotStart when a download fails or does
    not have the locked SHA-256: such a file never gets its final name.
    """
    fetch = fetch_with_jgo if fetch is None else fetch
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        good = list(pool.map(lambda jar: _is_good(folder / jar.file_name, jar), jars))
        missing = [jar for jar, is_good in zip(jars, good, strict=True) if not is_good]
        try:
            for done, jar in enumerate(pool.map(lambda jar: _provide_one(jar, folder, fetch), missing), 1):
                progress(f"{server}: jar {done} of {len(missing)} ({jar.file_name})")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return folder


def _is_good(path: Path, jar: Jar) -> bool:
    return path.is_file() and sha256_of(path) == jar.sha256


def _provide_one(jar: Jar, folder: Path, fetch: Fetch) -> Jar:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as private:
        path = Path(private) / jar.file_name
        try:
            fetch(jar, path)
        except CannotStart:
            raise
        except Exception as error:
            raise CannotStart(
                f"Cannot download {jar.coordinate} ({error}): check the network and start again, "
                "what has already come is kept."
            ) from error
        found = sha256_of(path)
        if found != jar.sha256:
            raise CannotStart(
                f"{jar.coordinate} came with SHA-256 {found}, its lock file has {jar.sha256}: rejected. "
                "Either the download was tampered with, or the lock is not the published one."
            )
        path.replace(folder / jar.file_name)
    return jar


def fetch_with_jgo(jar: Jar, path: Path) -> None:
    """Downloads into a private repository: jgo writes in place, so a broken download would stay there."""
    import jgo.maven
    from jgo.config import GlobalSettings

    for attempt in range(1, DOWNLOAD_TRIES_MAX + 1):
        repository = path.parent / f"try-{attempt}"
        context = jgo.maven.MavenContext(
            repo_cache=repository,
            local_repos=[],
            remote_repos=_remote_repositories(GlobalSettings.load().repositories),
            timeout=DOWNLOAD_TIMEOUT_S,
        )
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        try:
            shutil.move(component.artifact().resolve(), path)
            return
        except Exception:
            if attempt == DOWNLOAD_TRIES_MAX:
                raise
            time.sleep(attempt)


def _remote_repositories(configured: Mapping[str, str] | None) -> dict[str, str]:
    """jgo's own default, and before it whatever the user configured for jgo (a company mirror)."""
    from jgo.constants import MAVEN_CENTRAL_URL

    return {**(configured or {}), "central": MAVEN_CENTRAL_URL}


# What Kafka's own distribution adds to the dependencies of its core: the bridge from slf4j to log4j2.
_LOG_BRIDGE = ("org.apache.logging.log4j", "log4j-slf4j-impl")


def resolve(line: str) -> Iterable[tuple[str, str, str]]:
    """(group, artifact, version) of everything that the newest `line`.x of Kafka's core needs at run time."""
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    with tempfile.TemporaryDirectory() as private:
        context = MavenContext(repo_cache=Path(private), local_repos=[], timeout=DOWNLOAD_TIMEOUT_S)
        project = context.project("org.apache.kafka", "kafka_2.13")
        project.update()
        patches = [v.split(".")[2] for v in project.metadata.versions if v.startswith(f"{line}.")]
        newest = max(int(patch) for patch in patches if patch.isdecimal())
        core = context.create_dependency(Coordinate.parse(f"org.apache.kafka:kafka_2.13:{line}.{newest}"))
        inputs, transitive = context.resolver.resolve([core])
        needed = [*inputs, *(d for d in transitive if d.scope in ("compile", "runtime"))]
        found = {(d.groupId, d.artifactId): d.version for d in needed}
        found[_LOG_BRIDGE] = found[("org.apache.logging.log4j", "log4j-core")]
        return [(group, artifact, version) for (group, artifact), version in sorted(found.items())]


def write_lock(line: str, path: Path = LOCK_FILE) -> None:
    """Resolves `line` (such as `4.3`) anew, downloads every jar and writes what it found."""
    head = f"# Kafka {line}.x and what it needs at run time. Written by `python -m ops.embedded.jars {line}`."
    path.write_text(locked(head, resolve(line)), "utf-8")


def locked(head: str, jars: Iterable[tuple[str, str, str]]) -> str:
    """The text of a lock file with the SHA-256 of each jar, which it downloads."""
    with tempfile.TemporaryDirectory() as private:

        def entry(needed: tuple[str, str, str]) -> str:
            jar = Jar(*needed, sha256="")
            fetched = Path(private) / jar.coordinate.replace(":", "_") / jar.file_name
            fetched.parent.mkdir()
            fetch_with_jgo(jar, fetched)
            return f"{jar.coordinate} sha256:{sha256_of(fetched)}"

        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            return "\n".join([head, *pool.map(entry, jars), ""])


if __name__ == "__main__":
    write_lock(sys.argv[1])

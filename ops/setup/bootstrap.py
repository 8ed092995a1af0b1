"""Creates `.venv` from a lock file: `python3 ops/setup/bootstrap.py run` or `... test`.

- Uses only the standard library: it runs with the machine's Python before anything is installed.
- Every package, including the installer `uv`, must have the hash of its lock file.
- A stamp file makes a second call return at once. A `.venv` created for `test` also serves `run`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON_MIN = (3, 11)
CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
LOCKS = {"run": CHECKOUT / "requirements.lock", "test": CHECKOUT / "requirements-dev.lock"}
UV_LOCK = Path(__file__).with_name("uv.lock")
SERVES = {"run": ("run", "test"), "test": ("test",)}  # the installed sets that satisfy each requested one


# No `OperatorError` (pipeline/errors.py), as every other such error is: this runs before the project is
# installed, with the machine's Python, and imports only the standard library.
class CannotSetUp(Exception):
    """The setup failed. The message is one line: what is wrong, and what to do."""


def main(arguments: list[str]) -> int:
    if arguments not in (["run"], ["test"]):
        print("usage: python3 ops/setup/bootstrap.py run|test", file=sys.stderr)
        return 2
    if sys.version_info < PYTHON_MIN:
        found = ".".join(str(part) for part in sys.version_info[:3])
        print(
            f"Python 3.11 or newer is needed, {sys.executable} is {found}: run `make PYTHON=...`.",
            file=sys.stderr,
        )
        return 1
    try:
        with (CHECKOUT / ".bootstrap.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two calls of make at the same time
            set_up(arguments[0])
    except CannotSetUp as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Cannot set up {VENV}: {error}.", file=sys.stderr)
        return 1
    return 0


def set_up(wish: str) -> None:
    """Return with a `.venv` that serves `wish`."""
    if _is_ours():
        if any(_stamp(name).is_file() and _stamp(name).read_text() == _key(name) for name in SERVES[wish]):
            return
    else:
        _make_venv()
    for name in LOCKS:
        _stamp(name).unlink(missing_ok=True)
    uv = _provide_uv()
    _say(f"installing what {LOCKS[wish].name} locks")
    # Where PYTHONDONTWRITEBYTECODE is set, each start of a process would otherwise compile what it imports:
    # 1.2 s of CPU of an edge's 2.2 s.
    _uv(uv, "sync", "--compile-bytecode", "--require-hashes", str(LOCKS[wish]))
    _uv(uv, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT))
    _stamp(wish).write_text(_key(wish))


def _say(line: str) -> None:
    print(f"setup: {line}", flush=True)


def _key(name: str) -> str:
    """Changes when anything does that the installed set depends on."""
    digest = hashlib.sha256()
    for path in (LOCKS[name], UV_LOCK, CHECKOUT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamp(name: str) -> Path:
    return VENV / f".installed-{name}"


def _python() -> Path:
    return VENV / "bin" / "python"


def _is_ours() -> bool:
    """Whether `.venv` was made whole by this script, for this checkout, and its Python still runs."""
    try:
        if (VENV / ".made-for").read_text() != str(CHECKOUT):
            return False
    except OSError:
        return False
    return subprocess.run([_python(), "-c", ""], capture_output=True, check=False).returncode == 0


def _make_venv() -> None:
    _say("making .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        # Debian has the part of venv that installs pip in a separate package; the rest may be enough.
        shutil.rmtree(VENV, ignore_errors=True)
        bare = [sys.executable, "-m", "venv", "--without-pip", str(VENV)]
        if (
            not (shutil.which("uv") or _has_pip(Path(sys.executable)))
            or subprocess.run(bare, check=False).returncode
        ):
            shutil.rmtree(VENV, ignore_errors=True)
            raise CannotSetUp(
                f"{sys.executable} cannot create a virtual environment with pip: install the package "
                "python3-venv (Debian: apt install python3-venv), or put `uv` on the PATH."
            )
    (VENV / ".made-for").write_text(str(CHECKOUT))


def _has_pip(python: Path) -> bool:
    return (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )


def _pip() -> list[str] | None:
    if _has_pip(_python()):
        return [str(_python()), "-m", "pip"]
    if _has_pip(Path(sys.executable)):
        return [sys.executable, "-m", "pip"]
    return None


def _provide_uv() -> Path:
    """The locked uv, in a folder of its own, since a sync removes what its lock does not name."""
    folder = VENV / ".uv"
    uv = folder / "bin" / "uv"
    wanted = hashlib.sha256(UV_LOCK.read_bytes()).hexdigest()
    stamp = folder / ".installed"
    if uv.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return uv
    pip = _pip()
    if pip is None:
        found = shutil.which("uv")
        if found is None:
            raise CannotSetUp("Neither pip nor uv is installed: install the package python3-venv, or uv.")
        return Path(found)
    _say("installing uv")
    shutil.rmtree(folder, ignore_errors=True)
    install = ["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    command = [*pip, *install, "--target", str(folder), "--requirement", str(UV_LOCK)]
    if subprocess.run(command, check=False).returncode != 0:
        raise CannotSetUp("pip could not install uv (see above): check the network and run make again.")
    stamp.write_text(wanted)
    return uv


def _uv(uv: Path, *arguments: str) -> None:
    command = [str(uv), "pip", arguments[0], "--python", str(_python()), *arguments[1:]]
    if subprocess.run(command, env=_uv_environment(), check=False).returncode != 0:
        raise CannotSetUp(
            f"uv pip {arguments[0]} failed (see above): check the network and free space, and run make again."
        )


def _uv_environment() -> dict[str, str]:
    """What the user has told pip about where packages come from, in uv's words: uv reads none of pip's."""
    environment = dict(os.environ)
    for pips, uvs in (
        ("index-url", "UV_DEFAULT_INDEX"),
        ("extra-index-url", "UV_INDEX"),
        ("find-links", "UV_FIND_LINKS"),
        ("cert", "SSL_CERT_FILE"),
    ):
        told = _told_to_pip(pips)
        if pips == "find-links":
            # uv rejects a folder that does not exist, pip only warns.
            told = ",".join(place for place in told.split() if "://" in place or Path(place).exists())
        if told and uvs not in environment:
            environment[uvs] = told
    environment.pop("VIRTUAL_ENV", None)
    return environment


def _told_to_pip(option: str) -> str:
    by_environment = os.environ.get("PIP_" + option.upper().replace("-", "_"))
    pip = _pip()
    if by_environment or pip is None:
        return by_environment or ""
    for section in ("global", "install"):
        asked = subprocess.run([*pip, "config", "get", f"{section}.{option}"], capture_output=True, text=True)
        if asked.returncode == 0:
            return asked.stdout.strip()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make clean`: removes the files that this checkout has created: its default home, `.venv`, caches."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))  # run before anything is installed, or after its removal

from ops.embedded.home import HOME_DEFAULT, HOME_ENV, Home  # noqa: E402
from pipeline.errors import CannotStart  # noqa: E402

CACHES = (
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    "quizstream.egg-info",
    "build",
)


def main() -> int:
    home = Home(CHECKOUT / HOME_DEFAULT)
    try:
        home.remove()
    except CannotStart as error:
        print(error.message, file=sys.stderr)
        return 1
    for name in CACHES:
        shutil.rmtree(CHECKOUT / name, ignore_errors=True)
    (CHECKOUT / ".bootstrap.lock").unlink(missing_ok=True)
    for folder in CHECKOUT.rglob("__pycache__"):
        shutil.rmtree(folder, ignore_errors=True)
    if os.environ.get(HOME_ENV):
        print(f"{HOME_ENV} is set: {os.environ[HOME_ENV]} is not removed; remove it manually.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

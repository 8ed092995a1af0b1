"""Errors that an operator can act on: each is printed as one line, never as a traceback.

Standard library only: `ops/setup/clean.py` imports this before anything is installed. Not in
`pipeline.runtime`, which imports the topology, since the topology has an error of this kind, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


class OperatorError(Exception):
    """Base of every error whose message is one line: what failed, and what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    @property
    def message(self) -> str:
        return str(self.args[0])


class CannotStart(OperatorError):
    """Something outside the program prevents a start."""


def exit_with_one_line(name: str, main: Callable[[], int | None]) -> NoReturn:
    """Ends the process with the status of `main`; an OperatorError becomes one line and status 1."""
    try:
        status = main()
    except OperatorError as error:
        print(f"{name}: {error.message}", file=sys.stderr)
        status = 1
    sys.exit(status)

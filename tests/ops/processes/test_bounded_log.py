"""A child's log keeps its end and never more than its bound."""

from __future__ import annotations

import os
from pathlib import Path

from ops.processes.bounded_log import BoundedLog, last_lines


def write(log: BoundedLog, chunks: list[bytes]) -> None:
    for chunk in chunks:
        os.write(log.write_end, chunk)
    log.child_started()
    log.join(30)


def test_what_the_child_writes_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "child.log"
    write(BoundedLog(path), [b"first\n", b"second\n"])
    assert path.read_bytes() == b"first\nsecond\n"


def test_a_chatty_child_cannot_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    lines = [b"%06d\n" % number for number in range(5000)]
    write(BoundedLog(path, bytes_max=1000), lines)
    kept = [file for file in tmp_path.iterdir() if file.name.startswith("child.log")]
    assert len(kept) <= 2
    assert path.read_bytes().endswith(lines[-1])


def test_a_disk_that_takes_nothing_does_not_block_the_child(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    path.mkdir()  # as good as full: nothing can be appended
    log = BoundedLog(path)
    write(log, [b"x" * 1000] * 200)  # more than a pipe holds
    assert log.dropped_bytes == 200_000


def test_an_error_message_shows_the_end_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    path.write_text("one\n\ntwo\nthree\nfour\n")
    assert last_lines(path) == "two | three | four"
    assert last_lines(path, having=["one", "four"]) == "one | four"
    assert last_lines(tmp_path / "none.log") == ""

"""A repeated line is logged once, then summed up at growing intervals, then said to be over."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.runtime import repeated_logs
from pipeline.runtime.kafka_clients import standalone_consumer
from pipeline.runtime.repeated_logs import KINDS_MAX, OVER_AFTER_S, RepeatFilter


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Log:
    """A logger with two handlers behind one filter, and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.filter = RepeatFilter(self.clock, sweeps=False)
        self.handlers = [Kept(), Kept()]
        self.logger = logging.getLogger(f"test.repeats.{id(self)}")
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        for handler in self.handlers:
            handler.addFilter(self.filter)
            self.logger.addHandler(handler)

    @property
    def lines(self) -> list[str]:
        assert self.handlers[0].lines == self.handlers[1].lines
        return self.handlers[0].lines


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    for handler in made.handlers:
        made.logger.removeHandler(handler)


def test_a_line_of_an_outage_comes_once_then_as_summaries_then_is_over(log: Log) -> None:
    for _ in range(3_360):  # seven minutes, eight lines a second
        log.logger.warning("connect to %s failed: Connection refused (after %d ms)", "b:9092", _ % 7)
        log.clock.now_s += 0.125
    assert log.lines[0] == "connect to b:9092 failed: Connection refused (after 0 ms)"
    assert log.lines[1].endswith("(80 times in 10 s; next summary after 20 s)")
    assert [line.rpartition("after ")[2] for line in log.lines[1:]] == [
        f"{n} s)" for n in (20, 40, 80, 160, 320)
    ]
    log.clock.now_s += OVER_AFTER_S
    log.filter.sweep()
    assert log.lines[-1].startswith("over: 3360 times in 420 s: connect to b:9092 failed")
    assert len(log.lines) == 7
    log.logger.warning("connect to %s failed: Connection refused (after %d ms)", "b:9092", 1)
    assert log.lines[-1] == "connect to b:9092 failed: Connection refused (after 1 ms)"


def test_lines_that_differ_in_more_than_a_duration_all_pass(log: Log) -> None:
    log.logger.warning("number 5511 is paused for 3 s")
    log.logger.warning("number 5512 is paused for 3 s")
    log.logger.warning("number 5512 is paused for 4 s")
    log.logger.error("number 5512 is paused for 4 s")
    assert log.lines == [
        "number 5511 is paused for 3 s",
        "number 5512 is paused for 3 s",
        "number 5512 is paused for 4 s",
    ]


def test_a_line_with_librdkafkas_own_count_of_repeats_is_the_same_line(log: Log) -> None:
    line = "FAIL: Connection refused (after %s)"
    log.logger.error(line, "0ms in state CONNECT")
    log.logger.error(line, "0ms in state CONNECT, 1 identical error(s) suppressed")
    log.logger.error(line, "12ms in state CONNECT, 30 identical error(s) suppressed")
    assert log.lines == ["FAIL: Connection refused (after 0ms in state CONNECT)"]


def test_lines_below_a_warning_always_pass(log: Log) -> None:
    for _ in range(3):
        log.logger.info("partition made")
    assert log.lines == ["partition made"] * 3


def test_a_line_that_was_not_repeated_is_not_said_to_be_over(log: Log) -> None:
    log.logger.warning("once")
    log.clock.now_s += OVER_AFTER_S
    log.filter.sweep()
    assert log.lines == ["once"]


def test_its_memory_is_bounded_and_a_full_one_suppresses_nothing_new(log: Log) -> None:
    for number in range(KINDS_MAX):
        log.logger.warning("line %d", number)
    for _ in range(2):
        log.logger.warning("one more")
    assert log.lines[-2:] == ["one more", "one more"]


def test_a_thread_says_that_it_is_over_without_another_line(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_logs, "SWEEP_EVERY_S", 0.05)
    monkeypatch.setattr(repeated_logs, "OVER_AFTER_S", 0.2)
    filter = RepeatFilter()
    for handler in log.handlers:
        handler.removeFilter(log.filter)
        handler.addFilter(filter)
    for _ in range(3):
        log.logger.error("down")
    deadline_s = time.monotonic() + 30
    while len(log.lines) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert log.lines == ["down", "over: 3 times in 0 s: down"]
    while any(thread.name == "log-repeats" for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_librdkafkas_own_lines_are_suppressed_too(log: Log) -> None:
    """Its reconnects of a few seconds would be dozens of lines."""
    consumer = standalone_consumer("127.0.0.1:9", "test", logger=log.logger)
    deadline_s = time.monotonic() + 60
    while not log.lines and time.monotonic() < deadline_s:
        consumer.poll(0.1)
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        consumer.poll(0.1)
    consumer.close()
    assert "Connection refused" in log.lines[0] or "refused" in " ".join(log.lines)
    assert len(log.lines) == len({line.partition("(after")[0] for line in log.lines}), log.lines


@pytest.mark.parametrize(
    "module",
    [
        "ingest_api.server",
        "sinks.workers",  # of `postgres-sink` and `webhook-sender`
        "sinks.delivery.process",
        "ops.simulator.server",
        "pipeline.engine.app",
    ],
)
def test_every_process_suppresses_repeats(module: str) -> None:
    code = f"import {module} as m, inspect; assert 'suppress_repeats()' in inspect.getsource(m)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)

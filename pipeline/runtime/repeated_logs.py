"""Suppresses repeated warnings and errors, so that an outage does not fill the log with one line.

The first line of a kind is logged at once. While it is repeated, a summary with the number of repeats follows
after 10 s, 20 s, 40 s and so on, at most every 10 minutes. After a minute without it, one line marks the end.

Lines are of one kind if logger, level and message are equal, durations and librdkafka's counts aside. Lines
below WARNING pass unchanged. librdkafka's own lines are included where its client has a `logger`
(`pipeline.runtime.kafka_clients`); without one it logs nothing.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SUMMARY_FIRST_S = 10.0
SUMMARY_MAX_S = 600.0
OVER_AFTER_S = 60.0
SWEEP_EVERY_S = 5.0
KINDS_MAX = 500  # remembered at once; beyond it lines of new kinds pass
KIND_CHARS_MAX = 300

_VARYING = re.compile(r"\d+(?:\.\d+)?\s?(?=m?s\b)|, \d+ identical error\(s\) suppressed")
_DECISION = "repeat_decision"

Kind = tuple[str, int, str]


@dataclass(slots=True)
class _Episode:
    began_s: float
    seen_s: float
    summary_at_s: float
    interval_s: float
    message: str
    suppressed: int = 0  # since the last line that was logged
    total: int = 1


class RepeatFilter(logging.Filter):
    """Add one instance to every handler of a process; it decides once for each record.

    A thread calls `sweep` while there is anything to end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, sweeps: bool = True) -> None:
        super().__init__()
        self._clock = clock
        self._sweeps = sweeps
        self._lock = threading.Lock()
        self._episodes: dict[Kind, _Episode] = {}
        self._sweeper: threading.Thread | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; adds the number of repeats to its message where some were suppressed."""
        if record.levelno < logging.WARNING:
            return True
        decision = getattr(record, _DECISION, None)
        if decision is None:
            decision = self._decide(record)
            setattr(record, _DECISION, decision)
        return bool(decision)

    def sweep(self) -> bool:
        """Log what is over; returns whether anything is still suppressed."""
        now_s = self._clock()
        with self._lock:
            over = {k: e for k, e in self._episodes.items() if now_s - e.seen_s >= OVER_AFTER_S}
            for kind in over:
                del self._episodes[kind]
            suppressing = any(episode.suppressed for episode in self._episodes.values())
        for (name, level, _), episode in over.items():
            if episode.total > 1:
                lasted_s = episode.seen_s - episode.began_s
                text = f"over: {episode.total} times in {lasted_s:.0f} s: {episode.message}"
                record = logging.LogRecord(name, level, "", 0, text, None, None)
                setattr(record, _DECISION, True)
                logging.getLogger(name).handle(record)
        return suppressing

    def _decide(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        kind = (record.name, record.levelno, _VARYING.sub("", message)[:KIND_CHARS_MAX])
        now_s = self._clock()
        with self._lock:
            episode = self._episodes.get(kind)
            if episode is None:
                if len(self._episodes) < KINDS_MAX:
                    first = now_s + SUMMARY_FIRST_S
                    self._episodes[kind] = _Episode(now_s, now_s, first, SUMMARY_FIRST_S, message)
                return True
            episode.seen_s = now_s
            episode.total += 1
            if now_s < episode.summary_at_s:
                episode.suppressed += 1
                self._start_sweeper()
                return False
            repeats, episode.suppressed = episode.suppressed + 1, 0
            past_s = episode.interval_s
            episode.interval_s = min(2 * episode.interval_s, SUMMARY_MAX_S)
            episode.summary_at_s = now_s + episode.interval_s
            next_s = episode.interval_s
        record.msg = f"{message} ({repeats} times in {past_s:.0f} s; next summary after {next_s:.0f} s)"
        record.args = None
        return True

    def _start_sweeper(self) -> None:
        if self._sweeps and (self._sweeper is None or not self._sweeper.is_alive()):
            self._sweeper = threading.Thread(target=self._sweep_until_over, name="log-repeats", daemon=True)
            self._sweeper.start()

    def _sweep_until_over(self) -> None:
        while True:
            time.sleep(SWEEP_EVERY_S)
            self.sweep()
            with self._lock:
                if not self._episodes:
                    self._sweeper = None
                    return


_of_process = RepeatFilter()


def suppress_repeats() -> None:
    """Add this process's filter to every handler of the root logger. Call it after the handlers are set."""
    for handler in logging.getLogger().handlers:
        if _of_process not in handler.filters:
            handler.addFilter(_of_process)

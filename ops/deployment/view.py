"""Shows progress: a spinner and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY_S = 5.0  # without a terminal


class View:
    def __init__(self, console: Console | None = None) -> None:
        self.console = Console(highlight=False, soft_wrap=True) if console is None else console

    def say(self, line: str) -> None:
        self.console.print(line, markup=False)

    @contextmanager
    def doing(self, title: str) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows a progress line; at the end, show the elapsed time."""
        started_s = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(title) as status:
                yield lambda line: status.update(f"{title}: {line}")
        else:
            yield lambda line: self.say(f"  {line}")
        self.say(f"{title}: done in {time.monotonic() - started_s:.1f} s")

    @contextmanager
    def counting(self, totals: dict[str, int]) -> Iterator[Callable[[str], None]]:
        """Show one bar per key; yield a function that advances a bar by one."""
        if self.console.is_terminal:
            name_column = TextColumn("{task.description}")
            columns = (name_column, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self.console) as progress:
                tasks = {name: progress.add_task(name, total=total) for name, total in totals.items()}
                yield lambda name: progress.advance(tasks[name])
        else:
            yield self._counted_in_lines(totals)

    def _counted_in_lines(self, totals: dict[str, int]) -> Callable[[str], None]:
        counts = dict.fromkeys(totals, 0)
        told_s = {"last": time.monotonic()}

        def advance(name: str) -> None:
            counts[name] += 1
            now_s = time.monotonic()
            if counts[name] == totals[name] or now_s - told_s["last"] > LINE_EVERY_S:
                told_s["last"] = now_s
                self.say("  " + ", ".join(f"{key} {counts[key]:,} of {totals[key]:,}" for key in totals))

        return advance

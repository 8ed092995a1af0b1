"""`quizstream lag`"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ops.topics.lag import Lag

WATCH_EVERY_S = 2.0


def lag(
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object per reader.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Measure again every 2 s until Ctrl-C.")] = False,
) -> None:
    """Show the lag of each agent and sink, in records and in seconds, from the brokers' offsets.

    Seconds are the age of the oldest record that was not read yet.

    Exit codes: 0 measured, 2 the brokers do not answer.

    Examples:

      quizstream lag

      quizstream lag --watch

      quizstream lag --json | jq '.[] | select(.records > 1000)'
    """
    import msgspec
    from rich.console import Console
    from rich.live import Live

    from ops.locate import find
    from ops.topics.lag import LagMeter

    found = find()
    meter = LagMeter(found.settings.kafka_bootstrap_servers, found.topology)
    console = Console(highlight=False)
    try:
        if json:
            while True:
                print(msgspec.json.encode(meter.measure()).decode(), flush=True)
                if not watch:
                    return
                time.sleep(WATCH_EVERY_S)
        if not watch:
            console.print(_table(meter.measure()))
            return
        with Live(_table(meter.measure()), console=console) as live:
            while True:
                time.sleep(WATCH_EVERY_S)
                live.update(_table(meter.measure()))
    finally:
        meter.close()


def _table(lags: list[Lag]) -> Table:
    from rich.table import Table

    table = Table("reader", "topic")
    for name in ("lag (records)", "lag (s)"):
        table.add_column(name, justify="right")
    for one in lags:
        seconds = "?" if one.seconds is None else f"{one.seconds:.1f}"
        table.add_row(f"{one.kind} {one.reader}", one.topic, f"{one.records:,}", seconds)
    return table

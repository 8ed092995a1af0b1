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
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a reader.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Measure again every 2 s until Ctrl-C.")] = False,
) -> None:
    """Show how far each agent and sink is behind, in records and in seconds, as the brokers say it.

    Seconds are the age of the oldest record that was not read yet.

    Exit codes: 0 measured, 2 the brokers cannot be asked.

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
    for name in ("records behind", "seconds behind"):
        table.add_column(name, justify="right")
    for one in lags:
        seconds = "?" if one.seconds is None else f"{one.seconds:.1f}"
        table.add_row(f"{one.kind} {one.reader}", one.topic, f"{one.records:,}", seconds)
    return table

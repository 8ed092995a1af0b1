"""`quizstream lag`"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group

    from ops.topics.lag import Lag
    from ops.topics.sending_lag import SendingLag

WATCH_EVERY_S = 2.0


def lag(
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object per reader.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Measure again every 2 s until Ctrl-C.")] = False,
) -> None:
    """Show the lag of each agent and sink from the brokers' offsets, and the deliveries that are due.

    Seconds are the age of the oldest record that was not read yet, or of the oldest delivery that is due.
    Where nothing is sent, the reasons follow.

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
    from ops.topics.sending_lag import measure_sending

    found = find()
    meter = LagMeter(found.settings.kafka_bootstrap_servers, found.topology)
    console = Console(highlight=False)

    def measured() -> list[Lag | SendingLag]:
        return [*meter.measure(), measure_sending(found.settings.database_url)]

    try:
        if json:
            while True:
                print(msgspec.json.encode(measured()).decode(), flush=True)
                if not watch:
                    return
                time.sleep(WATCH_EVERY_S)
        if not watch:
            console.print(_shown(measured()))
            return
        with Live(_shown(measured()), console=console) as live:
            while True:
                time.sleep(WATCH_EVERY_S)
                live.update(_shown(measured()))
    finally:
        meter.close()


def _shown(lags: Sequence[Lag | SendingLag]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ops.topics.sending_lag import SendingLag

    table = Table("reader", "topic")
    for name in ("lag (records)", "lag (s)"):
        table.add_column(name, justify="right")
    held: list[str] = []
    for one in lags:
        seconds = "?" if one.seconds is None else f"{one.seconds:.1f}"
        records = "?" if one.records is None else f"{one.records:,}"
        table.add_row(f"{one.kind} {one.reader}", one.topic, records, seconds)
        held += one.held if isinstance(one, SendingLag) else []
    return Group(table, *(Text(line) for line in held))

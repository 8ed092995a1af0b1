"""`quizstream reconcile`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.exits import NO, OK


def reconcile(
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    accepted: Annotated[
        Path | None, typer.Option(help="Ids that a client got a 202 for, one a line: all must be there.")
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0, help="First wait up to so many seconds until nothing moves; else that is a breach."
        ),
    ] = None,
) -> None:
    """Prove that every accepted completion is accounted for, by id, and that nobody was written to twice.

    Topics, tables, the ledger and the provider simulator's own record are read and held against each other:

      accepted = limited + unmatched + matched + dead

      matches = deliveries + duplicates

      deliveries = the sum of the ledger's states

    Without --wait, what is still on its way counts as in flight, not as missing. Up to 20 ids are shown of
    each breach.

    Exit codes: 0 the ledger holds, 1 it does not, 2 something could not be read.

    Examples:

      quizstream reconcile --wait 60

      quizstream reconcile --json --accepted ids.txt
    """
    import msgspec
    from rich.console import Console

    from ops.audit.reconcile import reconcile as reconcile_all
    from ops.audit.reconcile import rendered
    from ops.locate import find

    with Console(stderr=True).status("reading") as status:
        report = reconcile_all(find(), accepted, wait, status.update)
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        Console(highlight=False).print(rendered(report))
    raise typer.Exit(OK if report.ok else NO)

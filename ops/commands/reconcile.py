"""`quizstream reconcile`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.exits import NO, OK


def reconcile(
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    accepted: Annotated[
        Path | None,
        typer.Option(
            help="File of completion ids that clients received with a 202, one a line; all must be found."
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds to wait until nothing is in flight; what still is then counts as a breach."
        ),
    ] = None,
    record: Annotated[
        list[str] | None,
        typer.Option(help="Base URL of another simulator whose record of calls is read, too."),
    ] = None,
) -> None:
    """Audit the ledger: every accepted completion is accounted for by id, and no message was sent twice.

    Reads topics, tables, the ledger and the provider simulator's record, and compares them:

      accepted = limited + unmatched + matched + dead

      matches = deliveries + duplicates

      deliveries = the sum of the ledger's states

    A real provider has no record that can be read. Deliveries called there are compared with the ledger's own
    attempts: at most one of each may have been sent, and a sent delivery must have one. A number that was
    moved counts with its address at the time of the call, which the audit log has.

    Without --wait, unfinished work counts as in flight, not as missing. Each breach is shown with up to 20
    ids.

    Exit codes: 0 the ledger holds, 1 it does not, 2 a topic, a table or the record cannot be read.

    Examples:

      quizstream reconcile --wait 60

      quizstream reconcile --json --accepted ids.txt
    """
    import msgspec
    from rich.console import Console

    from ops.audit.collect import Records
    from ops.audit.reconcile import reconcile as reconcile_all
    from ops.audit.reconcile import rendered
    from ops.locate import find

    with Console(stderr=True).status("reading") as status:
        report = reconcile_all(find(), accepted, wait, status.update, Records(tuple(record or ())))
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        Console(highlight=False).print(rendered(report))
    raise typer.Exit(OK if report.ok else NO)

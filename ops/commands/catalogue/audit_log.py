"""`quizstream audit-log`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.listing import Json, Limit, print_page
from ops.exits import CANNOT


def audit_log(
    subject: Annotated[str | None, typer.Option(help="Only actions on this id.")] = None,
    after: Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List what operators did, the newest first: who, when, what, to what.

    Entries are kept for postgres.audit_log_days of topology.yaml and hold no personal data of contacts. The
    actor is QUIZSTREAM_ACTOR, or the login name of the command's user.

    Exit codes: 0 listed, 2 something could not be read.

    Examples:

      quizstream audit-log

      quizstream audit-log --subject 106540352242922 --json
    """
    import msgspec

    from ops.locate import find
    from sinks.postgres.audit_log import entries
    from sinks.postgres.connect import connect
    from sinks.postgres.page import Page, as_mappings

    if after is not None and not after.isdigit():
        typer.echo(f"{after!r} is not a cursor of this list.", err=True)
        raise typer.Exit(CANNOT)
    with connect(find().settings.database_url, "audit-log") as connection:
        before = None if after is None else int(after)
        page = as_mappings(entries(connection, limit=limit, before=before, subject=subject))
    if not json:
        shown = [{**one, "detail": msgspec.json.encode(one["detail"]).decode()} for one in page.items]
        page = Page(shown, page.next)
    print_page(page, ("at", "actor", "action", "subject", "detail"), as_json=json)

"""`quizstream explain`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.exits import NO


def explain(
    id: Annotated[str, typer.Argument(help="Id of a completion or of a delivery.")],
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object per entry.")] = False,
) -> None:
    """Show the history of one completion or delivery, from topics, tables and the provider's record.

    Ordered by time; for a delivery that waits, the last entry gives the reasons of this moment. Phones are
    masked, names and e-mail addresses omitted.

    Exit codes: 0 shown, 1 unknown id, 2 a topic, a table or the record cannot be read.

    Examples:

      quizstream explain 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e

      quizstream explain 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e --json | jq '.[].what'
    """
    import msgspec
    from rich.console import Console

    from ops.audit.explain import NothingKnown, time_text
    from ops.audit.explain import explain as explain_id
    from ops.locate import find

    try:
        with Console(stderr=True).status("reading"):
            moments = explain_id(find(), id)
    except NothingKnown as nothing:
        typer.echo(str(nothing), err=True)
        raise typer.Exit(NO) from None
    if json:
        print(msgspec.json.encode(moments).decode())
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for moment in moments:
        console.print(f"{time_text(moment.at)}  {moment.what}  ({moment.where})")
        for name, value in moment.detail.items():
            if value not in (None, "", [], {}):
                console.print(f"    {name}: {value}", style="dim")

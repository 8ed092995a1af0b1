"""`quizstream abuse list|show|release|block`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.listing import Json, print_page
from ops.exits import NO

if TYPE_CHECKING:
    from ops.abuse.operations import Listed

COLUMNS = ("who", "kind", "state", "until", "score", "cause", "blocks", "subject")

abuse = typer.Typer(
    name="abuse", help="Addresses that the edge delays, challenges or blocks.", no_args_is_help=True
)

Who = Annotated[
    str, typer.Argument(help="An address, its /24, /64 or /48, quiz:ID, or a subject as logs have it.")
]
Reason = Annotated[str, typer.Option(help="For the audit log; no personal data.")]
ForS = Annotated[
    int | None, typer.Option("--for", min=1, max=2_592_000, help="Seconds. Default: in topology.yaml.")
]
OneJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@abuse.command("list")
def list_all(
    ended: Annotated[
        bool, typer.Option("--ended", help="Also what has ended and is kept for edge.abuse.kept_s.")
    ] = False,
    json: Json = False,
) -> None:
    """List who is delayed, challenged, blocked or released now, the last changed first.

    Addresses are personal data. They are shown here only; logs, metrics and the audit log have subjects.

    Exit codes: 0 listed, 2 something could not be read.

    Example:

      quizstream abuse list
    """
    from ops.abuse.operations import list_verdicts
    from ops.locate import find
    from sinks.postgres.page import Page

    items = [one._asdict() for one in list_verdicts(find(), ended=ended)]
    print_page(Page(items, None), COLUMNS, as_json=json)


@abuse.command()
def show(who: Who, json: OneJson = False) -> None:
    """Show one verdict, with the points of each signal (docs/abuse.md explains them).

    Exit codes: 0 shown, 2 there is none, or it could not be read.

    Example:

      quizstream abuse show 198.51.100.7
    """
    from ops.abuse import operations
    from ops.locate import find

    _print(operations.show(find(), who), as_json=json)


@abuse.command()
def release(who: Who, reason: Reason, for_s: ForS = None, json: OneJson = False) -> None:
    """End a verdict at once, in all edge processes; the subject is then not judged for a time.

    An address that must never be judged belongs to edge.sources.trusted of topology.yaml.

    Exit codes: 0 released, 1 nothing was in force (it is still not judged for the time), 2 not possible.

    Example:

      quizstream abuse release 198.51.100.7 --reason "a school, ticket 4711" --for 86400
    """
    from ops.abuse import operations
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.connect import connect

    found = find()
    with connect(found.settings.database_url, "abuse") as connection:
        try:
            was = operations.show(found, who).state
        except operations.NoVerdict:
            was = "ended"
        _print(operations.release(found, connection, actor(), who, reason, for_s), as_json=json)
    raise typer.Exit(NO if was == "ended" else 0)


@abuse.command()
def block(who: Who, reason: Reason, for_s: ForS = None, json: OneJson = False) -> None:
    """Block an address or a network by hand: its requests get 429 until the time is over.

    Exit codes: 0 blocked, 2 not possible.

    Example:

      quizstream abuse block 198.51.100.0/24 --reason "ticket 4712" --for 86400
    """
    from ops.abuse import operations
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.connect import connect

    found = find()
    with connect(found.settings.database_url, "abuse") as connection:
        _print(operations.block(found, connection, actor(), who, reason, for_s), as_json=json)


def _print(one: Listed, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.encode(one._asdict()).decode())
        return
    print(f"{one.who} ({one.subject}) is {one.state} since {one.since:%Y-%m-%d %H:%M:%S} UTC")
    print(f"  until   {one.until:%Y-%m-%d %H:%M:%S} UTC, by {one.cause}, blocked {one.blocks} times")
    points = ", ".join(f"{name} {value:g}" for name, value in one.points.items())
    print(f"  points  {one.score:g}{f': {points}' if points else ''}")

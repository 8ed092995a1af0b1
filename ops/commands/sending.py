"""`quizstream stop-sending` and `quizstream resume-sending`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.exits import CANNOT

if TYPE_CHECKING:
    from sinks.delivery.stop_switch import Connection

Tenant = Annotated[str | None, typer.Option(help="Only this tenant's deliveries.")]
Campaign = Annotated[str | None, typer.Option(help="Only this campaign's deliveries.")]
Number = Annotated[str | None, typer.Option(help="Only deliveries of this sender number.")]
Json = Annotated[bool, typer.Option("--json", help="Print stops and held numbers as JSON.")]


def stop_sending(
    tenant: Tenant = None,
    campaign: Campaign = None,
    number: Number = None,
    reason: Annotated[str, typer.Option(help="Shown with the stop, for other operators.")] = "",
    json: Json = False,
) -> None:
    """Stop sending: everything, or one tenant, campaign or sender number. Deliveries wait; none is lost.

    After this returns no new call starts; calls in flight (at most ten a number) still end.

    Exit codes: 0 stopped, 2 not possible.

    Examples:

      quizstream stop-sending --reason "wrong text in the May campaign"

      quizstream stop-sending --campaign may-2026
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery import stop_switch
    from sinks.postgres.connect import connect

    scope = _scope(tenant, campaign, number)
    with connect(find().settings.database_url, "stop-sending") as connection:
        stop_switch.stop_sending(connection, scope, reason, actor())
        _show(connection, json)


def resume_sending(
    tenant: Tenant = None, campaign: Campaign = None, number: Number = None, json: Json = False
) -> None:
    """Remove a stop of the same scope. Other stops remain; resuming a number also ends its quarantine.

    A pause that a tenant made by the tenant API remains until the tenant ends it.

    What still stops or holds a part of the sending is printed.

    Exit codes: 0 this scope is not stopped any more, 2 not possible.

    Examples:

      quizstream resume-sending

      quizstream resume-sending --number 551150010001
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery import stop_switch
    from sinks.postgres.connect import connect

    scope = _scope(tenant, campaign, number)
    with connect(find().settings.database_url, "resume-sending") as connection:
        if not stop_switch.resume_sending(connection, scope, actor()):
            typer.echo(f"{scope} was not stopped.", err=True)
        _show(connection, json)


def _scope(tenant: str | None, campaign: str | None, number: str | None) -> str:
    from sinks.delivery.stop_switch import scope_of

    named = {"tenant": tenant, "campaign": campaign, "number": number}
    given = {kind: name for kind, name in named.items() if name is not None}
    if len(given) > 1:
        typer.echo("Give only one of --tenant, --campaign and --number, or none for everything.", err=True)
        raise typer.Exit(CANNOT)
    for kind, name in given.items():
        return scope_of(kind, name)
    return scope_of("global")


def _show(connection: Connection, as_json: bool) -> None:
    import msgspec

    from sinks.delivery.stop_switch import held_numbers, stops

    stopped, held = stops(connection), held_numbers(connection)
    if as_json:
        shown = {"stops": stopped, "held_numbers": [number._asdict() for number in held]}
        print(msgspec.json.encode(shown).decode())
        return
    if not stopped and not held:
        print("No stop is in force, and no number is held.")
    if stopped:
        print("Stopped now:")
    for stop in stopped:
        why = f": {stop.reason}" if stop.reason else ""
        whose = " by its tenant" if stop.by_tenant else ""
        print(f"  {stop.scope}{whose} since {stop.stopped_at:%Y-%m-%d %H:%M:%S} UTC{why}")
    if held:
        print("Held now, until `quizstream number release ID`:")
    for number in held:
        print(f"  {number}")

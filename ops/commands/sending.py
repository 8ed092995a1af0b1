"""`quizstream stop-sending` and `quizstream resume-sending`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.exits import CANNOT

if TYPE_CHECKING:
    from sinks.delivery.stop_switch import Stop

Tenant = Annotated[str | None, typer.Option(help="Only this tenant's deliveries.")]
Campaign = Annotated[str | None, typer.Option(help="Only this campaign's deliveries.")]
Number = Annotated[str | None, typer.Option(help="Only what this sending number would send.")]
Json = Annotated[bool, typer.Option("--json", help="Print what is stopped now, as JSON.")]


def stop_sending(
    tenant: Tenant = None,
    campaign: Campaign = None,
    number: Number = None,
    reason: Annotated[str, typer.Option(help="Shown to whoever asks why nothing is sent.")] = "",
    json: Json = False,
) -> None:
    """Stop sending: everything, or one tenant, campaign or number. Deliveries wait, nothing is lost.

    Once this returns no new call is begun; calls in flight (at most ten a number) still end.

    Exit codes: 0 stopped, 2 it could not be done.

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
        _show(stop_switch.stops(connection), json)


def resume_sending(
    tenant: Tenant = None, campaign: Campaign = None, number: Number = None, json: Json = False
) -> None:
    """Take back a stop of the same scope. Other stops stay; resuming a number also ends its quarantine.

    Exit codes: 0 nothing stops this scope any more, 2 it could not be done.

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
        _show(stop_switch.stops(connection), json)


def _scope(tenant: str | None, campaign: str | None, number: str | None) -> str:
    from sinks.delivery.stop_switch import scope_of

    named = {"tenant": tenant, "campaign": campaign, "number": number}
    given = {kind: name for kind, name in named.items() if name is not None}
    if len(given) > 1:
        typer.echo("Name one of --tenant, --campaign and --number, or none for everything.", err=True)
        raise typer.Exit(CANNOT)
    for kind, name in given.items():
        return scope_of(kind, name)
    return scope_of("global")


def _show(stops: list[Stop], as_json: bool) -> None:
    import msgspec

    if as_json:
        print(msgspec.json.encode(stops).decode())
        return
    print("Stopped now:" if stops else "Nothing is stopped.")
    for stop in stops:
        why = f": {stop.reason}" if stop.reason else ""
        print(f"  {stop.scope} since {stop.stopped_at:%Y-%m-%d %H:%M:%S} UTC{why}")

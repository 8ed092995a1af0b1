"""`quizstream deliveries list|show|resolve|redrive`"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page
from ops.exits import CANNOT, NO

if TYPE_CHECKING:
    from ops.audit.explain import Moment
    from sinks.delivery.operator.deliveries import Known
    from sinks.delivery.operator.redrive import Report

deliveries = typer.Typer(
    name="deliveries",
    help="Look at deliveries that ended in doubt or in failure, and decide about them.",
    no_args_is_help=True,
)

ALL_STATES = "all"
FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


class Answer(StrEnum):
    SENT = "sent"
    NOT_SENT = "not-sent"


Id = Annotated[str, typer.Argument(help="Id of a delivery.")]
Since = Annotated[
    datetime | None, typer.Option(formats=FORMATS, help="Only those whose state changed then or later; UTC.")
]
Until = Annotated[
    datetime | None, typer.Option(formats=FORMATS, help="Only those whose state changed before; UTC.")
]
Why = Annotated[
    str | None, typer.Option(help="Only those with this text in their reason, such as a code: 131053.")
]
State = Annotated[
    list[str] | None,
    typer.Option(help="A state, or all; more than once for several. Default: ambiguous and dead."),
]


@deliveries.command("list")
def list_rows(
    state: State = None,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign's.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    since: Since = None,
    until: Until = None,
    why: Why = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Only those that failed after each allowed redrive.")
    ] = False,
    after: After = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List deliveries, without --state those that wait for an operator: ambiguous and dead.

    The oldest campaign month first, a page at a time. docs/delivery-states.md describes the states.

    Exit codes: 0 listed, 2 something could not be read.

    Examples:

      quizstream deliveries list

      quizstream deliveries list --state failed --campaign may-2026 --json | jq '.items[].reason'

      quizstream deliveries list --state failed --since 2026-05-01 --why 131053
    """
    from ops.locate import find
    from sinks.delivery.operator.deliveries import NEEDS_AN_OPERATOR, Chosen, list_deliveries
    from sinks.delivery.operator.redrive import REDRIVABLE
    from sinks.delivery.state import DeliveryState
    from sinks.postgres.connect import connect
    from sinks.postgres.page import as_mappings

    given = [] if state is None else state
    for one in given:
        if one not in (*DeliveryState, ALL_STATES):
            known = ", ".join((*DeliveryState, ALL_STATES))
            typer.echo(f"There is no state {one!r}: choose one of {known}.", err=True)
            raise typer.Exit(CANNOT)
    everything = ALL_STATES in given
    usual = REDRIVABLE if quarantined else NEEDS_AN_OPERATOR
    wanted = None if everything else [DeliveryState(one) for one in given] or usual
    found = find()
    chosen = Chosen(wanted, tenant, campaign, _utc(since), _utc(until), why)
    redrives_min = found.topology.sender.redrives_max if quarantined else None
    with connect(found.settings.database_url, "deliveries") as connection:
        page = list_deliveries(connection, chosen, redrives_min=redrives_min, after=after, limit=limit)
    columns = (
        "delivery_id",
        "state",
        "campaign_id",
        "channel",
        "route",
        "number_id",
        "attempts",
        "updated_at",
        "reason",
    )
    print_page(as_mappings(page), columns, as_json=json)


@deliveries.command()
def show(
    id: Id,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a delivery: its state, every call of it, the provider's statuses, and its events in Kafka.

    Phones are masked. `quizstream explain` adds the completion that it came from.

    Exit codes: 0 shown, 2 there is no such delivery, or something could not be read.

    Example:

      quizstream deliveries show 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e
    """
    import msgspec

    from ops.audit.explain import from_topics
    from ops.locate import find
    from sinks.delivery.operator.deliveries import delivery_uuid, known_of
    from sinks.postgres.connect import connect

    wanted = delivery_uuid(id)
    found = find()
    with connect(found.settings.database_url, "deliveries") as connection:
        known = known_of(connection, wanted)
    events = sorted(from_topics(found, [str(wanted)], ["delivery_events"]), key=lambda moment: moment.at)
    if json:
        shown = {
            **known.delivery._asdict(),
            "phone": known.phone,
            "calls": [row._asdict() for row in known.attempts],
            "statuses": [row._asdict() for row in known.statuses],
            "events": [{"at_ms": moment.at, "where": moment.where, **moment.detail} for moment in events],
        }
        print(msgspec.json.encode(shown).decode())
    else:
        _print(known, events)


@deliveries.command()
def resolve(
    id: Id,
    verdict: Annotated[Answer, typer.Option("--as", help="What you found at the provider.")],
    reason: Annotated[str, typer.Option(help="How this is known; without personal data.")],
    checked_at_provider: Annotated[
        bool,
        typer.Option("--checked-at-provider", help="Required for not-sent: you have looked at the provider."),
    ] = False,
    message_id: Annotated[
        str | None, typer.Option(help="Of --as sent: the provider's message id, for later statuses.")
    ] = None,
) -> None:
    """Resolve an ambiguous delivery: a call was begun and its answer never came.

    `--as sent` ends it as sent. `--as not-sent` ends it as failed; it is sent again only by `redrive`. Look
    into the provider's own console or message log first, by number and time of the call (`deliveries show`):
    a wrong `not-sent` and a redrive write to the contact twice. A later status webhook still corrects it.

    Exit codes: 0 resolved, 2 it is not ambiguous, not confirmed, or it could not be done.

    Examples:

      quizstream deliveries resolve 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e --as sent --reason "in Meta's log"

      quizstream deliveries resolve 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e --as not-sent \\
      --checked-at-provider --reason "not in Meta's log of 10:15 to 10:20"
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery.operator.deliveries import delivery_uuid
    from sinks.delivery.operator.resolve import resolve as resolve_delivery
    from sinks.postgres.connect import connect

    wanted = delivery_uuid(id)
    with connect(find().settings.database_url, "deliveries") as connection:
        change = resolve_delivery(
            connection,
            actor(),
            wanted,
            verdict.value,
            reason,
            checked_at_provider=checked_at_provider,
            provider_message_id=message_id,
        )
    print(f"{change.delivery_id}: {change.state}")


@deliveries.command()
def redrive(
    id: Annotated[str | None, typer.Argument(help="Id of a delivery.")] = None,
    campaign: Annotated[str | None, typer.Option(help="All dead and failed ones of this campaign.")] = None,
    tenant: Annotated[str | None, typer.Option(help="All of this tenant.")] = None,
    since: Since = None,
    until: Until = None,
    why: Why = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead and failed ones.")] = False,
    state: Annotated[str | None, typer.Option(help="Of several: only dead, or only failed.")] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Also those that failed after each allowed redrive.")
    ] = False,
    reason: Annotated[str, typer.Option(help="For the audit log; no personal data.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send dead and failed deliveries once more, after the cause is removed.

    Only where it is certain that no call of it sent anything: every call was rejected, not written, or
    resolved as not-sent, and no status proves a message. Others are left, each with its reason. They wait
    with all their attempts again; stops, opt-outs and cancelled campaigns count as for every delivery.
    One that was redriven sender.redrives_max times is quarantined: it is left without --quarantined.

    Exit codes: 0 all wait again, 1 some were left, 2 it could not be done.

    Examples:

      quizstream deliveries redrive 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e --reason "template approved"

      quizstream deliveries redrive --campaign may-2026 --state dead --dry-run

      quizstream deliveries redrive --since 2026-05-01 --why 131053 --reason "image replaced" --dry-run
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery.operator.deliveries import Chosen, delivery_uuid
    from sinks.delivery.operator.redrive import NO_LIMIT, REDRIVABLE, redrive_many, redrive_one
    from sinks.delivery.state import DeliveryState
    from sinks.postgres.connect import connect

    several = everything or any(one is not None for one in (campaign, tenant, since, until, why))
    if (id is None) != several:
        typer.echo("Name a delivery, or choose several: --campaign, --since, --why, ... or --all.", err=True)
        raise typer.Exit(CANNOT)
    if state is not None and (id is not None or state not in REDRIVABLE):
        typer.echo("--state is dead or failed, of several deliveries.", err=True)
        raise typer.Exit(CANNOT)
    found = find()
    redrives_max = NO_LIMIT if quarantined else found.topology.sender.redrives_max
    with connect(found.settings.database_url, "deliveries") as connection:
        if id is not None:
            report = redrive_one(
                connection, actor(), delivery_uuid(id), reason, redrives_max=redrives_max, dry_run=dry_run
            )
        else:
            states = REDRIVABLE if state is None else (DeliveryState(state),)
            chosen = Chosen(states, tenant, campaign, _utc(since), _utc(until), why)
            report = redrive_many(
                connection, actor(), chosen, reason, redrives_max=redrives_max, dry_run=dry_run
            )
    _print_report(report, dry_run=dry_run, as_json=json)
    raise typer.Exit(NO if report.left else 0)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _print_report(report: Report, *, dry_run: bool, as_json: bool) -> None:
    import msgspec

    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    print(f"{report.redriven:,} deliveries {'would be redriven' if dry_run else 'redriven'}")
    for why, count in report.left.items():
        print(f"{count:,} left: {why}")


def _print(known: Known, events: list[Moment]) -> None:
    from ops.audit.explain import time_text

    one = known.delivery
    fields = {
        "delivery": one.delivery_id,
        "state": one.state + (f": {one.reason}" if one.reason else ""),
        "campaign": f"{one.campaign_id} of tenant {one.tenant_id}",
        "contact": f"{one.contact_id}, phone {known.phone or 'unknown'}",
        "completion": one.completion_id,
        "route": f"{one.channel} {one.route or '(not chosen yet)'}",
        "message": one.provider_message_id or "-",
        "changed": f"{one.updated_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    for name, value in fields.items():
        print(f"{name:12} {value}")
    for row in known.attempts:
        end = "no end yet" if row.finished_at is None else f"{row.finished_at:%H:%M:%S} {row.outcome}"
        about = " ".join(part for part in (row.code, row.detail) if part)
        route = f"{row.number_id} ({row.provider}, {row.channel or 'whatsapp'})"
        whence = f"{row.called_at:%Y-%m-%dT%H:%M:%SZ} from {route}"
        print(f"call         {whence}: {end} {about}".rstrip())
    for status in known.statuses:
        waits = "" if status.merged else " (waits for the call's own result)"
        print(f"status       {status.at:%Y-%m-%dT%H:%M:%SZ} {status.status}{waits}")
    for moment in events:
        state, why = moment.detail.get("state"), moment.detail.get("reason")
        print(f"event        {time_text(moment.at)} {state}{f': {why}' if why else ''}  ({moment.where})")

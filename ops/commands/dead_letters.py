"""`quizstream dead-letters list|show|redrive`"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.exits import CANNOT, NO

if TYPE_CHECKING:
    from ops.dead_letters.letters import Group, State, Which

dead_letters = typer.Typer(
    name="dead-letters",
    help="Inspect records that could not be processed, and redrive them.",
    no_args_is_help=True,
)

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


class Shown(StrEnum):
    OPEN = "open"
    REDRIVEN = "redriven"
    QUARANTINED = "quarantined"
    ALL = "all"


Id = Annotated[str | None, typer.Option(help="Id of one letter.")]
Reason = Annotated[str | None, typer.Option(help="Text in the reason, case-insensitive.")]
Stage = Annotated[
    str | None, typer.Option(help="Stage that rejected the record, such as qualify or sink:completions.")
]
Topic = Annotated[str | None, typer.Option(help="Source topic: its role, such as completions, or its name.")]
Since = Annotated[datetime | None, typer.Option(formats=TIMES, help="Failed at this time or later (UTC).")]
Until = Annotated[datetime | None, typer.Option(formats=TIMES, help="Failed before this time (UTC).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dead_letters.command("list")
def list_letters(
    id: Id = None,
    reason: Reason = None,
    stage: Stage = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[Shown, typer.Option(help="State of the letters.")] = Shown.OPEN,
    limit: Annotated[
        int, typer.Option(min=0, help="Maximum number of letters listed; all are counted.")
    ] = 20,
    json: Json = False,
) -> None:
    """Count dead letters by stage and reason, and list the newest.

    Exit codes: 0 listed, 2 a table or topic cannot be read.

    Examples:

      quizstream dead-letters list

      quizstream dead-letters list --stage qualify --since 2026-05-01 --json
    """
    import msgspec
    from rich.console import Console

    from ops.dead_letters.letters import histogram, newest
    from ops.locate import find
    from sinks.postgres.connect import connect

    found = find()
    which = _which(id, reason, stage, topic, since, until, state.value).parameters(found.topology)
    with connect(found.settings.database_url, "dead-letters") as connection:
        groups = histogram(connection, which)
        letters = newest(connection, which, limit)
    rows = [
        {
            "dead_letter_id": letter.dead_letter_id,
            "failed_at": letter.failed_at.isoformat(timespec="seconds"),
            "state": letter.state,
            "stage": letter.stage,
            "reason": letter.reason,
            "attempts": letter.attempts,
            "source": f"{letter.source_topic}[{letter.source_partition}]@{letter.source_offset}",
            "completion_id": letter.completion_id,
            "erased": letter.payload_erased_at is not None,
        }
        for letter in letters
    ]
    if json:
        total = sum(group.count for group in groups)
        print(msgspec.json.encode({"total": total, "groups": groups, "letters": rows}).decode())
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    _print_groups(console, groups)
    for row in rows:
        console.print(
            f"{row['failed_at']}  {row['dead_letter_id']}  {row['state']}, {row['attempts']} attempts"
            + (", record erased" if row["erased"] else "")
        )
        console.print(f"    {row['stage']}: {row['reason']}  ({row['source']})", style="dim")


@dead_letters.command("show")
def show(
    id: Annotated[str, typer.Argument(help="Id of a dead letter.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Print the whole record: names, phones, addresses, answers.")
    ] = False,
    json: Json = False,
) -> None:
    """Show one dead letter and its record without personal data.

    Phones are masked; names, addresses, answers, variables, webhook bodies and undecodable bytes are omitted.
    With --reveal everything is printed, and the audit log gets an entry.

    Exit codes: 0 shown, 1 unknown id, 2 a table or topic cannot be read.

    Examples:

      quizstream dead-letters show 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e

      quizstream dead-letters show 3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e --reveal
    """
    import msgspec
    from rich.console import Console

    from ops.actor import actor
    from ops.dead_letters import shown
    from ops.locate import find

    try:
        letter = shown.show(find(), id, reveal_to=actor() if reveal else None)
    except shown.NoSuchLetter as nothing:
        typer.echo(str(nothing), err=True)
        raise typer.Exit(NO) from None
    if json:
        print(msgspec.json.encode(letter).decode())
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    fields: dict[str, Any] = msgspec.structs.asdict(letter)
    record, before = fields.pop("record"), fields.pop("before")
    for name, value in fields.items():
        if value is not None:
            console.print(f"{name:16} {value}")
    console.print("record")
    for name, value in record.items():
        console.print(f"    {name}: {value}", style="dim")
    for earlier in before:
        console.print(f"before: {earlier['failed_at']} {earlier['stage']}: {earlier['reason']}")


@dead_letters.command("redrive")
def redrive(
    id: Id = None,
    reason: Reason = None,
    stage: Stage = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All open letters; required if no other filter is given.")
    ] = False,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Include letters whose record was redriven too often.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of letters, the oldest first.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the letters.")] = False,
    json: Json = False,
) -> None:
    """Publish the records of dead letters again, after the cause is fixed.

    Stages and sinks treat a record that they have processed as a repeat, so it has no second effect. A record
    that fails again becomes a new letter with one more attempt; a record that was redriven too often
    (topology.yaml: dead_letters.redrives_max) is quarantined. An interrupted redrive continues when it is
    started again. The audit log gets an entry for each step.

    Exit codes: 0 all redriven, 1 some quarantined or left, 2 not possible.

    Examples:

      quizstream dead-letters redrive --all --dry-run

      quizstream dead-letters redrive --reason "no partition" --since 2026-05-01T10:00
    """
    import msgspec
    from rich.console import Console

    from ops.actor import actor
    from ops.dead_letters import redrive as work
    from ops.deployment.view import View
    from ops.locate import find

    found = find()
    which = _which(id, reason, stage, topic, since, until, "unsettled" if quarantined else "open")
    if which.everything != everything:
        typer.echo("Select letters with a filter option, or all of them with --all.", err=True)
        raise typer.Exit(CANNOT)
    if dry_run:
        groups = work.plan(found, which)
        if json:
            print(msgspec.json.encode({"total": sum(g.count for g in groups), "groups": groups}).decode())
        else:
            _print_groups(Console(highlight=False, soft_wrap=True, markup=False), groups)
        return
    view = View(Console(stderr=True, highlight=False, soft_wrap=True))
    total = sum(group.count for group in work.plan(found, which))
    with view.counting({"letters": total if limit is None else min(total, limit)}) as advance:
        before = 0

        def tell(done: int, _all: int) -> None:
            nonlocal before
            for _ in range(done - before):
                advance("letters")
            before = done

        report = work.redrive(found, actor(), which, limit, tell)
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        print(
            f"{report.redriven:,} letters redriven ({report.records:,} records), "
            f"{report.quarantined:,} quarantined"
        )
        for why, count in report.left.items():
            print(f"{count:,} left: {why}")
    raise typer.Exit(NO if report.quarantined or report.left else 0)


def _which(
    id: str | None,
    reason: str | None,
    stage: str | None,
    topic: str | None,
    since: datetime | None,
    until: datetime | None,
    state: State,
) -> Which:
    from ops.dead_letters.letters import Which

    return Which(id, reason, stage, topic, _utc(since), _utc(until), state)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _print_groups(console: Any, groups: list[Group]) -> None:
    console.print(f"{sum(group.count for group in groups):,} dead letters")
    for group in groups:
        console.print(f"{group.count:8,}  {group.stage}: {group.reason}  ({group.source_topic})")

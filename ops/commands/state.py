"""`quizstream state repair`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.exits import NO

state = typer.Typer(name="state", help="The worker's tables and their changelogs.", no_args_is_help=True)


@state.callback()
def _group() -> None:
    """Keep the verb, though there is only one."""


@state.command()
def repair(
    topic: Annotated[str, typer.Option(help="Changelog: its name, such as state.delivered.v1, or its role.")],
    partition: Annotated[int, typer.Option(min=0, help="As the worker's error names it.")],
    offset: Annotated[int, typer.Option(min=0, help="As the worker's error names it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Repair; without it, only print the repair.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Supersede a changelog record that cannot be read, so that the worker starts again.

    Its key's value is rebuilt: of `delivered` from the ledger, of `contact_windows` from the published
    verdicts. Where no source has it the last readable value is used, or the key is forgotten; the output
    shows what that means. The unreadable record is kept as a dead letter, and the audit log gets an entry.

    Exit codes: 0 repaired, or the repair is printed, 1 nothing to repair, 2 not possible.

    Examples:

      quizstream state repair --topic state.delivered.v1 --partition 3 --offset 1207

      quizstream state repair --topic state.delivered.v1 --partition 3 --offset 1207 --yes
    """
    import msgspec

    from ops.actor import actor
    from ops.locate import find
    from ops.state import repair as work

    try:
        if yes:
            report = work.repair(find(), actor(), topic, partition, offset)
        else:
            report = work.plan(find(), topic, partition, offset)
    except work.NothingToRepair as nothing:
        typer.echo(str(nothing), err=True)
        raise typer.Exit(NO) from None
    if json:
        print(msgspec.json.encode(report).decode())
        return
    print(f"{report.topic} partition {report.partition} offset {report.offset}: {report.why}")
    print(f"table {report.table}, its key: {report.by} ({report.source})")
    if report.loss:
        print(f"that means: {report.loss}")
    if report.done:
        print(
            f"repaired by offset {report.offset_new}; the unreadable record is a dead letter ({work.STAGE})"
        )
    else:
        print("nothing is changed yet; repair it with --yes")

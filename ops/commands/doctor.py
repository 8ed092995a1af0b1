"""`quizstream doctor`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.exits import NO, OK


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on a warning, too.")] = False,
) -> None:
    """Check every server and process, and show what is wrong and what to do.

    Exit codes: 0 all checks passed (also with warnings, such as open dead letters), 1 a check failed.
    With --strict a warning is 1, too.

    Example:

      quizstream doctor
    """
    import msgspec
    from rich.console import Console

    from ops.deployment.doctor import all_well, diagnose, edges_of
    from ops.deployment.doctor_checks import CHECKS
    from ops.locate import find
    from ops.processes.table import health_urls

    settings = find().settings
    findings = diagnose(settings, health_urls(settings, edges_of(settings)), CHECKS)
    if json:
        print(msgspec.json.encode(findings).decode())
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            mark = "[green]ok[/green]" if finding.ok else "[red]no[/red]"
            mark = "[yellow]warn[/yellow]" if finding.warning else mark
            console.print(mark, end=" ")
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            console.print(f" {finding.name}: {finding.detail}{remedy}", markup=False)
    failed = not all_well(findings) or (strict and any(finding.warning for finding in findings))
    raise typer.Exit(NO if failed else OK)

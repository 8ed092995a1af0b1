"""`quizstream replay`"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import typer

from ops.exits import NO
from pipeline.errors import OperatorError


def replay(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; line 1 names the columns.")],
    quiz: Annotated[str, typer.Option(help="Id of the quiz. Made from the header where there is none.")],
    contact_column: Annotated[
        str | None, typer.Option(help="Column that holds a phone number. Without it people are made up.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Rows a second, on schedule however slow the answers are.")
    ] = None,
    accepted_out: Annotated[
        Path | None, typer.Option(help="Append the id of every accepted completion, one a line.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose quiz it is, where it has to be made.")] = "demo",
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="Requests at a time, where no rate is given.")
    ] = 64,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Post the rows of any CSV file as completions, each until the edge has said yes or no.

    Every column is a question and every row a respondent; an empty cell or NA is an unanswered question.
    Without a contact column each row gets a valid Brazilian mobile number made from the quiz and the line:
    those people may exist, so it is refused where the tenant has a number at a real provider.

    Replaying the same file again changes nothing: same ids, same days, same people.

    What is refused for now (429, 503, a broken connection) is tried again with the same key. What is refused
    for good is named by its line on stderr, and the rest goes on.

    Exit codes: 0 every row accepted, 1 a row was refused or got no answer, 2 nothing could be done.

    Examples:

      quizstream replay answers.csv --quiz feedback-2026

      quizstream replay answers.csv --quiz feedback-2026 --contact-column phone --rate 200

      quizstream replay answers.csv --quiz feedback-2026 --accepted-out ids.txt

      quizstream reconcile --accepted ids.txt --wait 60
    """
    import msgspec
    from rich.console import Console

    from ops.demo.answer_table import AnswerTable
    from ops.demo.people import require_simulated_numbers
    from ops.demo.quiz_of_table import quiz_for
    from ops.demo.replay import Accepted, GaveUp, Plan, Refused, RowOutcome
    from ops.demo.replay import replay as post_rows
    from ops.locate import find
    from sinks.postgres.connect import connect

    found = find()
    table = AnswerTable.open(file, contact_column)
    known = quiz_for(found.settings.database_url, table, quiz, tenant)
    if contact_column is None:
        with connect(found.settings.database_url, "replay") as connection:
            require_simulated_numbers(connection, known.tenant_id, found.settings.simulator_url)
    plan = Plan(
        table,
        quiz,
        known.created_at,
        found.settings.edge_url,
        found.settings.service_token,
        rate_per_s=rate,
        concurrency=concurrency,
    )
    console = Console(stderr=True, highlight=False)
    done = 0

    def tell(outcome: RowOutcome, accepted: TextIO | None) -> None:
        nonlocal done
        done += 1
        match outcome:
            case Accepted(_, completion_id):
                if accepted is not None:
                    accepted.write(f"{completion_id}\n")
            case Refused(line, problem):
                print(f"line {line}: {problem}", file=sys.stderr)
            case GaveUp(line, problem):
                print(f"line {line}: no answer: {problem}", file=sys.stderr)
        if done % 100 == 0:
            status.update(f"{done:,} rows")

    with ExitStack() as stack:
        status = stack.enter_context(console.status("posting"))
        # Line by line: what was accepted is on record also when this process is killed.
        opened = None if accepted_out is None else _append_to(accepted_out)
        if opened is not None:
            stack.enter_context(opened)
        summary = asyncio.run(post_rows(plan, lambda outcome: tell(outcome, opened)))
    if json:
        counts = {
            "rows": summary.rows,
            "accepted": summary.accepted,
            "refused": summary.refused,
            "gave_up": summary.gave_up,
            "retries": summary.retries,
            "elapsed_s": round(summary.elapsed_s, 3),
        }
        print(msgspec.json.encode(counts).decode())
    else:
        pace = summary.rows / summary.elapsed_s if summary.elapsed_s else 0.0
        print(
            f"{summary.rows:,} rows: {summary.accepted:,} accepted, {summary.refused:,} refused, "
            f"{summary.gave_up:,} without an answer, {summary.retries:,} retries, "
            f"{summary.elapsed_s:.1f} s ({pace:,.0f}/s)"
        )
    if not summary.ok:
        raise typer.Exit(NO)


def _append_to(path: Path) -> TextIO:
    try:
        return path.open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"Cannot write {path}: {error.strerror}.") from error

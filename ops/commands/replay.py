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
    quiz: Annotated[str, typer.Option(help="Id of the quiz; created from the header if it does not exist.")],
    contact_column: Annotated[
        str | None, typer.Option(help="Column with phone numbers; without it, contacts are generated.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Rows per second, independent of the response time.")
    ] = None,
    accepted_out: Annotated[
        Path | None, typer.Option(help="File to which the id of every accepted completion is appended.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Tenant of a quiz that has to be created.")] = "demo",
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="Concurrent requests, if no rate is given.")
    ] = 64,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Post the rows of a CSV file as completions, each until the edge has accepted or rejected it.

    Every column is a question and every row a respondent; an empty cell or NA is an unanswered question.
    Without a contact column each row gets a valid Brazilian mobile number, derived from quiz and line. Such
    numbers may exist, so the command stops if the tenant has a sender number at a real provider.

    Replaying the same file again changes nothing: ids, days and contacts are the same.

    A request that may succeed later (429, 503, a broken connection) is retried with the same key. A row that
    is rejected finally is printed with its line number on stderr, and the next rows follow.

    Exit codes: 0 every row accepted, 1 a row was rejected or got no answer, 2 not possible.

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
    from ops.demo.replay import Accepted, GaveUp, Plan, Rejected, RowOutcome
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
            case Rejected(line, problem):
                print(f"line {line}: {problem}", file=sys.stderr)
            case GaveUp(line, problem):
                print(f"line {line}: no answer: {problem}", file=sys.stderr)
        if done % 100 == 0:
            status.update(f"{done:,} rows")

    with ExitStack() as stack:
        status = stack.enter_context(console.status("posting"))
        # Line by line, so that the file is complete even if this process is killed.
        opened = None if accepted_out is None else _append_to(accepted_out)
        if opened is not None:
            stack.enter_context(opened)
        summary = asyncio.run(post_rows(plan, lambda outcome: tell(outcome, opened)))
    if json:
        counts = {
            "rows": summary.rows,
            "accepted": summary.accepted,
            "rejected": summary.rejected,
            "gave_up": summary.gave_up,
            "retries": summary.retries,
            "elapsed_s": round(summary.elapsed_s, 3),
        }
        print(msgspec.json.encode(counts).decode())
    else:
        pace = summary.rows / summary.elapsed_s if summary.elapsed_s else 0.0
        print(
            f"{summary.rows:,} rows: {summary.accepted:,} accepted, {summary.rejected:,} rejected, "
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

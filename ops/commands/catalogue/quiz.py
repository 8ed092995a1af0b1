"""`quizstream quiz add|list|show|drop-off`"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page

if TYPE_CHECKING:
    from sinks.visits.drop_off import DropOff

quiz = typer.Typer(
    name="quiz",
    help="Make quizzes from a file, list and show them, and see where people leave them.",
    no_args_is_help=True,
)

DAYS = 7  # that `drop-off` shows without --since
BAR_CHARS = 30


@quiz.command()
def add(
    file: Annotated[Path, typer.Argument(help="YAML: one quiz, or a list of them.")],
    json: Annotated[bool, typer.Option("--json", help="Print the saved quizzes as JSON.")] = False,
) -> None:
    """Make quizzes, or change them. A change makes a new version; completions keep that of their time.

    The edge accepts completions of it within a second. `open: false` closes a quiz. Answers to removed
    questions are still accepted, from pages that are open. Rejected is a change that a running campaign does
    not allow, such as the removal of a question that it names; the campaigns are listed. A file looks like
    this, and ops/demo/seeds/quizzes.yaml shows longer ones:

      {quiz_id: feedback, tenant_id: acme, title: Feedback, questions: [{question_id: q1, right_answer: "4"}]}

    `page` has the texts and inputs of its page (docs/quiz-pages.md); without it every answer is a text.

    Exit codes: 0 saved, 2 rejected (every reason is given) or not possible.

    Example:

      quizstream quiz add feedback.yaml
    """
    import msgspec

    from ops.actor import actor
    from ops.deployment.seed import read
    from ops.locate import find
    from sinks.postgres.catalogue.event_size import event_bytes_max
    from sinks.postgres.catalogue.operations import add_quiz
    from sinks.postgres.catalogue.quizzes import QuizDraft
    from sinks.postgres.connect import connect

    drafts = read(file, list[QuizDraft] | QuizDraft)  # type: ignore[arg-type]
    now_ms = int(time.time() * 1000)
    listed = [drafts] if isinstance(drafts, QuizDraft) else drafts
    found = find()
    bytes_max = event_bytes_max(found.topology.topic("quizzes"))
    with connect(found.settings.database_url, "quiz") as connection:
        saved = [add_quiz(connection, actor(), one, now_ms, bytes_max) for one in listed]
    if json:
        print(msgspec.json.encode(saved).decode())
        return
    for one in saved:
        print(f"{one.quiz_id}: version {one.version}, {len(one.questions)} questions")


@quiz.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    after: After = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List quizzes by id.

    Exit codes: 0 listed, 2 something could not be read.

    Examples:

      quizstream quiz list

      quizstream quiz list --tenant acme --json
    """
    from ops.locate import find
    from sinks.postgres.catalogue.quizzes import list_quizzes
    from sinks.postgres.connect import connect
    from sinks.postgres.page import as_mappings

    with connect(find().settings.database_url, "quiz") as connection:
        page = list_quizzes(connection, limit=limit, after=after, tenant_id=tenant)
    columns = ("quiz_id", "tenant_id", "version", "questions", "open", "title")
    print_page(as_mappings(page), columns, as_json=json)


@quiz.command()
def show(
    quiz_id: Annotated[str, typer.Argument(help="Id of the quiz.")],
    json: Annotated[bool, typer.Option("--json", help="Print the quiz as JSON.")] = False,
) -> None:
    """Show a quiz with its questions; `--json` also shows its page.

    Exit codes: 0 shown, 2 there is no such quiz, or something could not be read.

    Example:

      quizstream quiz show feedback
    """
    import msgspec

    from ops.audit.explain import time_text
    from ops.locate import find
    from sinks.postgres.catalogue.quizzes import UnknownQuiz, get_page, get_quiz
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "quiz") as connection:
        found, page = get_quiz(connection, quiz_id), get_page(connection, quiz_id)
    if found is None:
        raise UnknownQuiz(quiz_id)
    if json:
        print(msgspec.json.encode(msgspec.to_builtins(found) | {"page": page}).decode())
        return
    print(f"{found.quiz_id}: {found.title}")
    print(f"tenant {found.tenant_id}, version {found.version}, {'open' if found.open else 'closed'}")
    print(f"made {time_text(found.created_at)}")
    for question in found.questions:
        right = "" if question.right_answer is None else f"  (right: {question.right_answer})"
        print(f"    {question.question_id}: {question.text}{right}")
    if found.former_questions:
        print(f"former questions, whose answers are still accepted: {', '.join(found.former_questions)}")


@quiz.command("drop-off")
def show_drop_off(
    quiz_id: Annotated[str, typer.Argument(help="Id of the quiz.")],
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day, UTC. Default: six days ago.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day, UTC. Default: today.")
    ] = None,
    silent_min: Annotated[
        int | None, typer.Option(min=1, help="Without a report for so long a visit counts as left.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show at which question people leave a quiz.

    Visits are counted by their furthest question at which the person entered something. `left`: those that
    went no further and were abandoned, or are silent (`visits.silent_min` of topology.yaml). A visit that
    completed has reached every question. Only pages with the progress script report: docs/browser-client.md.

    Exit codes: 0 shown, 2 there is no such quiz, or something could not be read.

    Examples:

      quizstream quiz drop-off feedback

      quizstream quiz drop-off feedback --since 2026-11-01 --until 2026-11-30 --json
    """
    import msgspec

    from ops.locate import find
    from sinks.postgres.connect import connect
    from sinks.visits.drop_off import drop_off

    found = find()
    now = datetime.now(UTC)
    last = now.date() if until is None else until.date()
    first = last - timedelta(days=DAYS - 1) if since is None else since.date()
    silent = timedelta(minutes=silent_min or found.topology.visits.silent_min)
    with connect(found.settings.database_url, "quiz") as connection:
        counted = drop_off(connection, quiz_id, since=first, until=last, silent_before=now - silent)
    if json:
        print(msgspec.json.encode(counted).decode())
    else:
        _print_drop_off(counted, round(silent.total_seconds() / 60))


def _print_drop_off(counted: DropOff, silent_min: int) -> None:
    print(f"{counted.quiz_id}: {counted.title}")
    print(
        f"{counted.visits:,} visits from {counted.since} to {counted.until}: {counted.completed:,} completed,"
        f" {counted.abandoned:,} abandoned, {counted.silent:,} silent for {silent_min} min,"
        f" {counted.active:,} active"
    )
    if not counted.visits:
        return
    names = [
        one.question_id or (f"question {one.position}" if one.position else "-") for one in counted.questions
    ]
    width = max(len("question"), *map(len, names))
    print(f"{'':3}  {'question':{width}}  {'reached':>9}  {'left':>9}  {'':5}")
    for name, one in zip(names, counted.questions, strict=True):
        if one.position == 0 and not one.left and not one.active:
            continue
        passed = round(BAR_CHARS * (one.reached - one.left) / counted.visits)
        left = round(BAR_CHARS * one.reached / counted.visits) - passed
        bar = "\u2588" * passed + "\u2591" * left
        share = f"{one.left_ratio:5.0%}"
        print(f"{one.position:3}  {name:{width}}  {one.reached:9,}  {one.left:9,}  {share}  {bar}".rstrip())

"""`quizstream quiz add|list|show`"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page

quiz = typer.Typer(name="quiz", help="Make quizzes from a file, list and show them.", no_args_is_help=True)


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
    from sinks.postgres.catalogue.operations import add_quiz
    from sinks.postgres.catalogue.quizzes import QuizDraft
    from sinks.postgres.connect import connect

    drafts = read(file, list[QuizDraft] | QuizDraft)  # type: ignore[arg-type]
    now_ms = int(time.time() * 1000)
    listed = [drafts] if isinstance(drafts, QuizDraft) else drafts
    with connect(find().settings.database_url, "quiz") as connection:
        saved = [add_quiz(connection, actor(), one, now_ms) for one in listed]
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

"""The demo: start everything, replay two real quizzes over HTTP, reconcile, serve until Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from ops import locate
from ops.audit.provider_record import ProviderRecord
from ops.audit.reconcile import reconcile, rendered
from ops.demo import both_providers, datasets
from ops.demo.answer_table import AnswerTable
from ops.demo.quiz_of_table import quiz_named
from ops.demo.replay import Accepted, GaveUp, Plan, Rejected, RowOutcome, Summary, replay
from ops.deployment.up import addresses, end_on_sigterm, running, serve_until_signal
from ops.deployment.view import View
from ops.exits import INTERRUPTED, NO, OK
from ops.locate import Deployment

DRAIN_TIMEOUT_S = 300.0
ACTIVATION_MARGIN_MS = 250
PROBLEMS_SHOWN_MAX = 10


def run(once: bool, brokers: int | None = None, edges: int = 1) -> int:
    """Returns the exit code. Raises OperatorError where something cannot start."""
    end_on_sigterm()
    view = View()
    try:
        with running(locate.find(), view, brokers, demo=True, edges=edges) as everything:
            wait_for_campaigns(everything.effective_at_ms, view)
            holds = demonstrate(everything.deployment, view)
            for name, address in addresses(everything.deployment, edges):
                view.say(f"{name:20} {address}")
            for dataset in datasets.DATASETS:
                view.say(f"{'Quiz page':20} {everything.deployment.settings.edge_url}/quiz/{dataset.quiz_id}")
            if not once:
                view.say("Serving until Ctrl-C. In another terminal: quizstream --help")
                serve_until_signal()
        return OK if holds else NO
    except KeyboardInterrupt:
        return INTERRUPTED


def wait_for_campaigns(effective_at_ms: int, view: View) -> None:
    """Wait until all campaigns are in force: earlier completions would not match them."""
    wait_s = (effective_at_ms + ACTIVATION_MARGIN_MS) / 1000 - time.time()
    if wait_s > 0:
        with view.doing("Campaigns coming into force"):
            time.sleep(wait_s)


def demonstrate(found: Deployment, view: View) -> bool:
    """Replay and reconcile; return whether every row was accepted and the ledger holds."""
    folder = found.settings.home / "datasets"
    files = datasets.extract(folder)
    wait_for_campaigns(both_providers.plant(found), view)
    accepted_file = found.settings.home / "accepted.txt"
    accepted_file.unlink(missing_ok=True)
    view.say("Replaying two real quizzes through HTTP")
    summaries = asyncio.run(_replay_all(found, files, accepted_file, view))
    senders = ", ".join(both_providers.QUIZZES.values())
    view.say(f"Replaying {both_providers.ROWS} rows each for tenants whose messages are sent by {senders}")
    head = {
        quiz_id: both_providers.first_rows(files["bfi"], folder, quiz_id)
        for quiz_id in both_providers.QUIZZES
    }
    summaries |= asyncio.run(_replay_all(found, head, accepted_file, view))
    for quiz_id, summary in summaries.items():
        view.say(
            f"{quiz_id}: {summary.accepted:,} of {summary.rows:,} accepted in {summary.elapsed_s:.1f} s, "
            f"{summary.retries:,} retries"
        )
    with view.doing("Waiting until nothing is in flight") as progress:
        report = reconcile(found, accepted_file, DRAIN_TIMEOUT_S, progress)
    view.console.print(rendered(report))
    sent = both_providers.sent_by_number(found, list(ProviderRecord(found.settings).more()))
    view.console.print(both_providers.rendered(sent))
    return report.ok and all(summary.ok for summary in summaries.values())


async def _replay_all(
    found: Deployment, files: dict[str, Path], accepted_file: Path, view: View
) -> dict[str, Summary]:
    rows = {dataset.quiz_id: dataset.rows for dataset in datasets.DATASETS}
    totals = {quiz_id: rows.get(quiz_id, both_providers.ROWS) for quiz_id in files}
    problems = 0
    with accepted_file.open("a", buffering=1, encoding="utf-8") as accepted, view.counting(totals) as count:

        def settle(quiz_id: str) -> Callable[[RowOutcome], None]:
            def tell(outcome: RowOutcome) -> None:
                nonlocal problems
                count(quiz_id)
                match outcome:
                    case Accepted(_, completion_id):
                        accepted.write(f"{completion_id}\n")
                    case Rejected(line, problem) | GaveUp(line, problem):
                        problems += 1
                        if problems <= PROBLEMS_SHOWN_MAX:
                            view.say(f"{quiz_id} line {line}: {problem}")

            return tell

        plans = {
            quiz_id: Plan(
                AnswerTable.open(path),
                quiz_id,
                quiz_named(found.settings.database_url, quiz_id).created_at,
                found.settings.edge_url,
                found.settings.service_token,
                emails=quiz_id == both_providers.BY_EMAIL,
            )
            for quiz_id, path in files.items()
        }
        done = await asyncio.gather(*(replay(plan, settle(quiz_id)) for quiz_id, plan in plans.items()))
    return dict(zip(plans, done, strict=True))

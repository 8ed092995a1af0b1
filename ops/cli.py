"""The command line `quizstream`: one file in `ops.commands` a verb; an error is one line on stderr."""

from __future__ import annotations

import io
import sys

import typer

from ops.commands.abuse import abuse
from ops.commands.balancer import balancer
from ops.commands.capacity import capacity
from ops.commands.catalogue.api_key import api_key
from ops.commands.catalogue.audit_log import audit_log
from ops.commands.catalogue.campaign import campaign
from ops.commands.catalogue.number import number
from ops.commands.catalogue.number_limit import limit, rotate_credential, show
from ops.commands.catalogue.number_pair import pair
from ops.commands.catalogue.number_webhook import webhook
from ops.commands.catalogue.quiz import quiz
from ops.commands.catalogue.suppression import suppression
from ops.commands.catalogue.tenant import tenant
from ops.commands.catalogue.token import token
from ops.commands.catalogue.user import user
from ops.commands.catalogue.webhook import webhooks
from ops.commands.dead_letters import dead_letters
from ops.commands.deliveries import deliveries
from ops.commands.doctor import doctor
from ops.commands.explain import explain
from ops.commands.extensions import register_commands
from ops.commands.lag import lag
from ops.commands.processes.down import down
from ops.commands.processes.process import process
from ops.commands.processes.restart import restart
from ops.commands.processes.run import run
from ops.commands.processes.up import up
from ops.commands.reconcile import reconcile
from ops.commands.replay import replay
from ops.commands.sending import resume_sending, stop_sending
from ops.commands.state import state
from ops.commands.topology import topology
from ops.exits import CANNOT, INTERRUPTED

app = typer.Typer(
    name="quizstream",
    help=(
        "Quiz completions through Kafka to Postgres and WhatsApp: nothing lost, nothing sent twice.\n\n"
        "Start with `quizstream run`. Every command uses the deployment of QUIZSTREAM_HOME and "
        "QUIZSTREAM_PORT_BASE, or the servers given by KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL and "
        "REDIS_URL.\n\n"
        "Exit codes: 0 done, 1 done and the check failed, 2 not possible (the reason is on stderr), "
        "130 interrupted."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (run, up, down, restart, doctor, process, topology, replay, reconcile, explain, lag):
    app.command()(command)
number.command()(limit)
number.command()(show)
number.command("rotate-credential")(rotate_credential)
number.command()(webhook)
number.command()(pair)
app.command("stop-sending")(stop_sending)
app.command("resume-sending")(resume_sending)
app.command("audit-log")(audit_log)
app.command()(capacity)
for group in (
    tenant,
    quiz,
    campaign,
    number,
    token,
    api_key,
    user,
    webhooks,
    suppression,
    deliveries,
    dead_letters,
    state,
    balancer,
    abuse,
):
    app.add_typer(group)
register_commands(app)


def main() -> None:
    """Entry point."""
    _print_utf8()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has closed the pipe
        sys.exit(CANNOT)
    except Exception as error:
        from ops.errors import one_line

        line = one_line(error)
        if line is None:
            raise
        print(f"quizstream: {line}", file=sys.stderr)
        sys.exit(CANNOT)


def _print_utf8() -> None:
    """JSON is UTF-8 and masked phones have an ellipsis, also where the locale is C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()

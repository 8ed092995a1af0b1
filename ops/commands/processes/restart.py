"""`quizstream restart`"""

from __future__ import annotations

from typing import Annotated

import typer

SETTLE_MORE_S = 1.0  # beyond the time in which the load balancer gives an edge no requests


def restart(
    which: Annotated[
        str, typer.Argument(help="edges: all, one after the other. Or one process, such as edge-1 or worker.")
    ],
) -> None:
    """Restart edges, or one process, of what `up` or `run` started: to take new code or settings.

    Several edges are restarted one after the other. Each leaves the port of clients, answers what it has
    accepted, ends, starts, and takes clients again; then the next one follows. Behind nginx
    (`quizstream balancer config`) and at the shared port no request is lost. Of a single edge, clients have
    no answer for some seconds, and repeat with the same key.

    Nothing is restarted while one of them is not ready, and nothing more after one that does not come back.

    Exit codes: 0 all are ready again, 2 not possible, or one is not ready (the reason is on stderr).

    Examples:

      quizstream restart edges

      quizstream restart whatsapp-sender
    """
    from ops.actor import actor
    from ops.deployment.restart import Waiting
    from ops.deployment.restart import restart as restart_in_turn
    from ops.embedded.home import Home
    from ops.locate import find
    from sinks.postgres.connect import connect

    found = find()
    waiting = Waiting(settle_s=found.topology.balancer.failed_s + SETTLE_MORE_S)
    with connect(found.settings.database_url, "restart") as connection:
        restart_in_turn(Home(found.settings.home), connection, actor(), which, waiting, print)

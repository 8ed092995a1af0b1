"""`quizstream topology`"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Verb(StrEnum):
    plan = "plan"
    apply = "apply"
    check = "check"


def topology(
    verb: Annotated[
        Verb,
        typer.Argument(
            help="plan shows the differences, apply removes them, check reports them by its exit code."
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    grow: Annotated[
        list[str] | None,
        typer.Option(help="Role of a topic whose partitions may grow; its keys then move. Repeatable."),
    ] = None,
) -> None:
    """Compare the cluster's topics with topology.yaml.

    Exit codes: 0 done (check: no drift), 1 drift or a change that is rejected, 2 the brokers do not answer.

    Examples:

      quizstream topology plan

      quizstream topology apply

      quizstream topology check || echo "the cluster has drifted"
    """
    from ops.locate import find
    from ops.topics import command

    found = find()
    raise typer.Exit(
        command.run(
            verb.value,
            found.topology,
            found.settings.kafka_bootstrap_servers,
            found.settings.replication_factor,
            as_json=json,
            grow=grow or (),
        )
    )

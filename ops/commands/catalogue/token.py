"""`quizstream token create|revoke`"""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

TOKEN_BYTES = 32

token = typer.Typer(name="token", help="Create or revoke service tokens.", no_args_is_help=True)


@token.command()
def create(
    tenant: Annotated[
        str, typer.Option(help="Tenant whose quizzes the token may submit to; * for every tenant.")
    ],
) -> None:
    """Create a service token and print it once: only its hash is stored.

    A service token may submit completions of up to 400 days ago.

    Exit codes: 0 created, 2 not possible.

    Example:

      QUIZSTREAM_SERVICE_TOKEN=$(quizstream token create --tenant acme) quizstream replay old.csv --quiz old
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import change_token
    from sinks.postgres.connect import connect

    made = secrets.token_urlsafe(TOKEN_BYTES)
    with connect(find().settings.database_url, "token") as connection:
        change_token(connection, actor(), made, tenant)
    print(made)


@token.command()
def revoke(
    tenant: Annotated[str, typer.Option(help="Tenant for which the token was created.")],
) -> None:
    """Revoke the token in the environment variable QUIZSTREAM_SERVICE_TOKEN; edges apply it within a second.

    Exit codes: 0 revoked, 2 not possible.

    Example:

      QUIZSTREAM_SERVICE_TOKEN=... quizstream token revoke --tenant acme
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import change_token
    from sinks.postgres.connect import connect

    settings = find().settings
    with connect(settings.database_url, "token") as connection:
        change_token(connection, actor(), settings.service_token, tenant, revoked=True)
    print("revoked")

"""`quizstream token create|revoke`"""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

TOKEN_BYTES = 32

token = typer.Typer(name="token", help="Create or revoke service tokens.", no_args_is_help=True)


@token.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose quizzes it serves; * serves every tenant's.")],
) -> None:
    """Create a service token and print it, once: only its hash is stored.

    A service token may hand in completions of up to 400 days ago and is not held to a browser's limits.

    Exit codes: 0 created, 2 it could not be done.

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
    tenant: Annotated[str, typer.Option(help="The tenant that it was created for.")],
) -> None:
    """Revoke the token in the environment variable QUIZSTREAM_SERVICE_TOKEN; edges hear of it in a second.

    Exit codes: 0 revoked, 2 it could not be done.

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

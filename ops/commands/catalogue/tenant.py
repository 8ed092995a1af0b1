"""`quizstream tenant add|list`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page
from schemas.quiz_page import Language

tenant = typer.Typer(name="tenant", help="Make tenants, and list them.", no_args_is_help=True)


@tenant.command()
def add(
    tenant_id: Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-'; it never changes.")],
    name: Annotated[str, typer.Option(help="Shown to operators.")],
    language: Annotated[
        Language | None, typer.Option(help="Of the pages of its quizzes, unless a quiz has its own.")
    ] = None,
) -> None:
    """Make a tenant, or rename it. Its quizzes, campaigns and numbers come after it.

    Exit codes: 0 it is there, 2 rejected or not possible.

    Example:

      quizstream tenant add acme --name "Acme Ltda"
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import add_tenant
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "tenant") as connection:
        changed = add_tenant(connection, actor(), tenant_id, name, language)
    print(f"{tenant_id}: {'saved' if changed else 'unchanged'}")


@tenant.command("list")
def list_all(after: After = None, limit: Limit = 50, json: Json = False) -> None:
    """List tenants by id.

    Exit codes: 0 listed, 2 something could not be read.

    Examples:

      quizstream tenant list

      quizstream tenant list --json | jq -r '.items[].tenant_id'
    """
    from ops.locate import find
    from sinks.postgres.catalogue.tenants import list_tenants
    from sinks.postgres.connect import connect
    from sinks.postgres.page import as_mappings

    with connect(find().settings.database_url, "tenant") as connection:
        page = list_tenants(connection, limit=limit, after=after)
    print_page(as_mappings(page), ("tenant_id", "name", "created_at"), as_json=json)

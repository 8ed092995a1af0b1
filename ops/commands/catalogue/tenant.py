"""`quizstream tenant add|list|limits`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page
from ops.exits import CANNOT
from schemas.quiz_page import Language

LIMIT_DIGITS_MAX = 12

tenant = typer.Typer(
    name="tenant", help="Make tenants, list them, and set their rate limits.", no_args_is_help=True
)


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
    from sinks.postgres.page import Page, as_mappings

    with connect(find().settings.database_url, "tenant") as connection:
        page = list_tenants(connection, limit=limit, after=after)
    found = as_mappings(page)
    if not json:
        found = Page([{**one, "limits": _shown(one["limits"])} for one in found.items], found.next)
    print_page(found, ("tenant_id", "name", "created_at", "limits"), as_json=json)


@tenant.command()
def limits(
    tenant_id: Annotated[str, typer.Argument(help="Id of the tenant.")],
    changes: Annotated[
        list[str] | None, typer.Argument(help="NAME=NUMBER, or NAME=default to end its own.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print its own limits as JSON.")] = False,
) -> None:
    """Show or change the rate limits that a tenant has of its own, instead of those of topology.yaml.

    Every edge applies a change within a second, without a restart. A limit keeps the window of topology.yaml,
    usually 60 s. The audit log records a change. The limits:

      address     completions of one address at the tenant's quizzes; it then counts those alone

      quiz_pages  requests of one address for pages of the tenant's quizzes

      token       completions with one token of the tenant

      quiz        completions of one of its quizzes

      tenant      all completions of the tenant

      tenant_day  all accepted completions of the tenant in any 24 h, repeats not; without it there
                  is not a limit

    Exit codes: 0 shown or changed, 2 rejected (every reason is given) or not possible.

    Examples:

      quizstream tenant limits acme

      quizstream tenant limits acme address=500 tenant_day=50000

      quizstream tenant limits acme tenant_day=default
    """
    import msgspec

    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import change_limits
    from sinks.postgres.catalogue.tenants import get_limits
    from sinks.postgres.connect import connect

    wanted = dict(map(_change, changes or ()))
    with connect(find().settings.database_url, "tenant") as connection:
        if wanted:
            own, changed = change_limits(connection, actor(), tenant_id, wanted)
        else:
            own, changed = get_limits(connection, tenant_id), False
    if json:
        print(msgspec.json.encode({"tenant_id": tenant_id, "limits": own}, order="sorted").decode())
        return
    print(f"{tenant_id}: {_shown(own) or 'no limits of its own'}{'; saved' if changed else ''}")


def _change(text: str) -> tuple[str, int | None]:
    name, equals, value = text.partition("=")
    if not equals or not (value == "default" or value.isdecimal()) or len(value) > LIMIT_DIGITS_MAX:
        typer.echo(f"{text!r} is not NAME=NUMBER or NAME=default.", err=True)
        raise typer.Exit(CANNOT)
    return name, None if value == "default" else int(value)


def _shown(limits: Mapping[str, int]) -> str:
    return " ".join(f"{name}={limit}" for name, limit in sorted(limits.items()))

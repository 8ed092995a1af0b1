"""`quizstream api-key create|list|revoke`"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page

api_key = typer.Typer(
    name="api-key", help="Create, list or revoke API keys of the tenant API.", no_args_is_help=True
)

Tenant = Annotated[str, typer.Option(help="Tenant whose key it is.")]


class Role(StrEnum):
    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"


@api_key.command()
def create(
    tenant: Tenant,
    name: Annotated[str, typer.Option(help="What the key is for; no personal data.")],
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.OWNER,
) -> None:
    """Create an API key and print it once: only its hash is stored.

    With a key of the role owner a tenant makes further keys itself: docs/tenant-api.md.

    Exit codes: 0 created, 2 not possible.

    Example:

      QUIZSTREAM_API_KEY=$(quizstream api-key create --tenant acme --name shop)
    """
    import secrets
    import time

    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.api_keys import KeyDraft, make_key
    from sinks.postgres.catalogue.rejections import UnknownTenant
    from sinks.postgres.catalogue.tenants import tenant_exists
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "api-key") as connection:
        if not tenant_exists(connection, tenant):
            raise UnknownTenant(tenant)
        draft = KeyDraft(name, role.value)
        now_ms = int(time.time() * 1000)
        made = make_key(connection, actor(), tenant, draft, now_ms, secrets.token_urlsafe)
    print(made.secret)


@api_key.command("list")
def list_all(tenant: Tenant, limit: Limit = 100, after: After = None, json: Json = False) -> None:
    """List the API keys of a tenant, without their secrets.

    Exit codes: 0 listed, 2 not possible.

    Example:

      quizstream api-key list --tenant acme
    """
    from ops.locate import find
    from sinks.postgres.catalogue.api_keys import list_keys
    from sinks.postgres.connect import connect
    from sinks.postgres.page import as_mappings

    with connect(find().settings.database_url, "api-key") as connection:
        page = as_mappings(list_keys(connection, tenant, limit=limit, after=after))
    print_page(page, ["key_id", "name", "role", "expires_at", "revoked_at", "created_at"], as_json=json)


@api_key.command()
def revoke(
    tenant: Tenant, key_id: Annotated[str, typer.Argument(help="Id of the key, from the list.")]
) -> None:
    """Revoke an API key; every process rejects it within a second.

    Exit codes: 0 revoked, 2 not possible.

    Example:

      quizstream api-key revoke --tenant acme key_3f9a
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.api_keys import revoke_key
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "api-key") as connection:
        changed = revoke_key(connection, actor(), tenant, key_id)
    print("revoked" if changed else "it was revoked already")

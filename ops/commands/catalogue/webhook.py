"""`quizstream webhook list|show|pause|release`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page

webhooks = typer.Typer(
    name="webhook", help="List, show, pause or release webhook endpoints of tenants.", no_args_is_help=True
)

Tenant = Annotated[str, typer.Option(help="Tenant whose endpoint it is.")]
EndpointId = Annotated[str, typer.Argument(help="Id of the endpoint, from the list.")]
MESSAGES_SHOWN_MAX = 20


@webhooks.command("list")
def list_all(tenant: Tenant, limit: Limit = 100, after: After = None, json: Json = False) -> None:
    """List the webhook endpoints of a tenant, without their secrets.

    Exit codes: 0 listed, 2 not possible.

    Example:

      quizstream webhook list --tenant acme
    """
    from ops.locate import find
    from sinks.postgres.catalogue.webhooks.endpoints import list_endpoints
    from sinks.postgres.connect import connect
    from sinks.postgres.page import as_mappings

    with connect(find().settings.database_url, "webhook") as connection:
        page = as_mappings(list_endpoints(connection, tenant, limit=limit, after=after))
    columns = ["endpoint_id", "url", "state", "state_reason", "held_reason", "failing_since", "given_up"]
    print_page(page, columns, as_json=json)


@webhooks.command()
def show(endpoint_id: EndpointId, tenant: Tenant, json: Json = False) -> None:
    """Show an endpoint's newest messages: which were delivered, which wait, and why.

    Exit codes: 0 shown, 2 not possible.

    Example:

      quizstream webhook show --tenant acme whe_3f9a
    """
    from ops.locate import find
    from sinks.postgres.catalogue.webhooks.endpoints import find_endpoint
    from sinks.postgres.catalogue.webhooks.messages import list_messages
    from sinks.postgres.connect import connect
    from sinks.postgres.page import as_mappings

    with connect(find().settings.database_url, "webhook") as connection:
        found = find_endpoint(connection, tenant, endpoint_id)
        page = list_messages(connection, tenant, limit=MESSAGES_SHOWN_MAX, endpoint_id=endpoint_id)
    if not json:
        why = found.held_reason or found.state_reason
        print(f"{found.url} {found.state}{f' ({why})' if why else ''}: {', '.join(found.kinds)}")
        if found.given_up_at is not None:
            print(
                f"{found.given_up} messages given up, the last at {found.given_up_at:%Y-%m-%d %H:%M:%S} UTC"
            )
    columns = ["message_id", "kind", "state", "attempts", "last_error", "due_at", "created_at"]
    print_page(as_mappings(page), columns, as_json=json)


@webhooks.command()
def pause(
    endpoint_id: EndpointId,
    reason: Annotated[str, typer.Option(help="Why; without personal data. The tenant sees it.")],
) -> None:
    """Send nothing to an endpoint until it is released; its messages wait.

    Exit codes: 0 paused, 2 not possible.

    Example:

      quizstream webhook pause whe_3f9a --reason "floods its own network"
    """
    from ops.actor import actor
    from ops.locate import find
    from pipeline.errors import OperatorError
    from sinks.postgres.catalogue.webhooks.endpoints import hold_endpoint
    from sinks.postgres.connect import connect

    if not reason.strip():
        raise OperatorError("a pause needs a reason")
    with connect(find().settings.database_url, "webhook") as connection:
        changed = hold_endpoint(connection, actor(), endpoint_id, reason.strip())
    print("paused" if changed else "it was paused already")


@webhooks.command()
def release(endpoint_id: EndpointId) -> None:
    """End an operator's pause of an endpoint; messages that wait are sent.

    One that is disabled is enabled by its tenant: docs/outbound-webhooks.md.

    Exit codes: 0 released, 2 not possible.

    Example:

      quizstream webhook release whe_3f9a
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.webhooks.endpoints import hold_endpoint
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "webhook") as connection:
        changed = hold_endpoint(connection, actor(), endpoint_id, "")
    print("released" if changed else "it was not paused")

"""`quizstream user add`"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

user = typer.Typer(name="user", help="Add users of a tenant.", no_args_is_help=True)


class Role(StrEnum):
    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"


@user.command()
def add(
    tenant: Annotated[str, typer.Option(help="Tenant whose user it is.")],
    email: Annotated[str, typer.Option(help="E-mail address, unique within the tenant.")],
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.OWNER,
) -> None:
    """Add a user and print its id; the password is read from standard input, its first line.

    With a user of the role owner a tenant makes further users itself: docs/tenant-api.md.

    Exit codes: 0 added, 2 not possible.

    Example:

      quizstream user add --tenant acme --email ana@example.com < password.txt
    """
    import secrets

    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.rejections import UnknownTenant
    from sinks.postgres.catalogue.tenants import tenant_exists
    from sinks.postgres.catalogue.users.passwords import hash_of, problem
    from sinks.postgres.catalogue.users.users import UserRejected, make_user
    from sinks.postgres.connect import connect

    found = find()
    with connect(found.settings.database_url, "user") as connection:
        if not tenant_exists(connection, tenant):
            raise UnknownTenant(tenant)
        password = _password()
        if (wrong := problem(password)) is not None:
            raise UserRejected(tenant, [wrong])
        made = make_user(
            *(connection, actor(), tenant, email, role.value, hash_of(password)),
            users_max=found.topology.tenants.users.users_max,
            random_text=secrets.token_urlsafe,
        )
    print(made.user_id)


def _password() -> str:
    """The first line of standard input; a terminal does not show it. Other accounts see arguments."""
    import getpass
    import sys

    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")

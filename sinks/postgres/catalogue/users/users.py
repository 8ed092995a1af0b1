"""Users of a tenant. Each change and its entry in the audit log are one transaction.

The tenant API and operators' commands call these functions. The audit log has the ids of users, never their
addresses. A password comes as a hash: making one takes long, and no transaction waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, cast

import msgspec

from sinks.postgres.audit_log import record_of
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.catalogue.tenants import tenant_exists
from sinks.postgres.catalogue.users import passwords
from sinks.postgres.catalogue.users.emails import EMAIL_CHARS_MAX, normalised
from sinks.postgres.catalogue.users.state import UserEvent, UserState, after
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("users.sql"))
ID_BYTES = 9
OWNER = "owner"

Role = Literal["viewer", "editor", "owner"]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=EMAIL_CHARS_MAX)]
Password = Annotated[str, msgspec.Meta(min_length=passwords.CHARS_MIN, max_length=passwords.CHARS_MAX)]
RandomText = Callable[[int], str]
"""As `secrets.token_urlsafe`."""


class UserRejected(Rejection):
    """The user cannot be saved."""


class EmailTaken(UserRejected):
    """Another user of the tenant has the address."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(tenant_id, ["it has a user with this e-mail address already"])


class LastOwner(UserRejected):
    """Without an active owner nobody could manage the tenant's users."""

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id, ["it is the tenant's last active owner: make another owner first"])


class UnknownUser(Rejection):
    """There is no such user."""

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id, ["there is no such user"])


class User(NamedTuple):
    """`email` is normalised."""

    user_id: str
    email: str
    role: str
    state: str
    state_changed_at: datetime
    password_changed_at: datetime
    created_at: datetime


def make_user(
    connection: Connection,
    actor: str,
    tenant_id: str,
    email: str,
    role: str,
    password_hash: str,
    *,
    users_max: int,
    random_text: RandomText,
) -> User:
    """Make an active user. Raises `UserRejected`, `EmailTaken` and `UnknownTenant`."""
    address = normalised(email)
    if address is None:
        raise UserRejected(tenant_id, ["its e-mail is not an address"])
    user_id = f"usr_{random_text(ID_BYTES)}"
    given = {"tenant": tenant_id, "user": user_id, "email": address, "role": role, "hash": password_hash}
    with connection.transaction():
        if not tenant_exists(connection, tenant_id):
            raise UnknownTenant(tenant_id)
        connection.execute(QUERIES["lock_tenant_users"], [tenant_id])
        if connection.execute(QUERIES["has_email"], given).fetchone() is not None:
            raise EmailTaken(tenant_id)
        if _count(connection, "count_users", [tenant_id]) >= users_max:
            raise UserRejected(tenant_id, [f"it has {users_max} users, as many as a tenant may have"])
        connection.execute(QUERIES["insert_user"], given)
        record_of(connection, tenant_id, actor, "user.create", user_id, role=role)
        return find_user(connection, tenant_id, user_id)


def change_role(connection: Connection, actor: str, tenant_id: str, user_id: str, role: str) -> User:
    """Return the user as it is then. Raises `UnknownUser` and `LastOwner`."""
    with connection.transaction():
        before = lock_user(connection, tenant_id, user_id)
        if before.role == role:
            return before
        if before.role == OWNER and before.state == UserState.ACTIVE:
            _require_other_owner(connection, tenant_id, user_id)
        connection.execute(QUERIES["change_role"], {"tenant": tenant_id, "user": user_id, "role": role})
        record_of(connection, tenant_id, actor, "user.role", user_id, role=role, before=before.role)
        return find_user(connection, tenant_id, user_id)


def change_state(connection: Connection, actor: str, tenant_id: str, user_id: str, event: UserEvent) -> User:
    """Return the user as it is then. Raises `UnknownUser` and `LastOwner`."""
    with connection.transaction():
        before = lock_user(connection, tenant_id, user_id)
        state = after(UserState(before.state), event)
        if state == before.state:
            return before
        if state == UserState.DISABLED and before.role == OWNER:
            _require_other_owner(connection, tenant_id, user_id)
        connection.execute(QUERIES["change_state"], {"tenant": tenant_id, "user": user_id, "state": state})
        record_of(connection, tenant_id, actor, f"user.{event}", user_id)
        return find_user(connection, tenant_id, user_id)


def change_password(
    connection: Connection, actor: str, tenant_id: str, user_id: str, password_hash: str
) -> User:
    """Return the user as it is then. Raises `UnknownUser`."""
    given = {"tenant": tenant_id, "user": user_id, "hash": password_hash}
    with connection.transaction():
        if connection.execute(QUERIES["change_password"], given).rowcount == 0:
            raise UnknownUser(user_id)
        record_of(connection, tenant_id, actor, "user.password", user_id)
        return find_user(connection, tenant_id, user_id)


def find_user(connection: Connection, tenant_id: str, user_id: str) -> User:
    """Raises `UnknownUser`."""
    return _one(connection, "find_user", tenant_id, user_id)


def lock_user(connection: Connection, tenant_id: str, user_id: str) -> User:
    """With all users of the tenant, until the end of the transaction. Raises `UnknownUser`."""
    connection.execute(QUERIES["lock_tenant_users"], [tenant_id])
    return _one(connection, "lock_user", tenant_id, user_id)


def list_users(connection: Connection, tenant_id: str, *, limit: int, after: str | None = None) -> Page[User]:
    """By id; `after` is the cursor of the page before."""
    given = {"tenant": tenant_id, "after": after or "", "limit": limit + 1}
    return page_of(fetch(connection, QUERIES["list_users"], User, given), limit, lambda one: one.user_id)


def _require_other_owner(connection: Connection, tenant_id: str, user_id: str) -> None:
    """With the lock of the tenant's users."""
    if _count(connection, "other_owners", {"tenant": tenant_id, "user": user_id}) == 0:
        raise LastOwner(user_id)


def _one(connection: Connection, query: str, tenant_id: str, user_id: str) -> User:
    found = fetch(connection, QUERIES[query], User, {"tenant": tenant_id, "user": user_id})
    if not found:
        raise UnknownUser(user_id)
    return found[0]


def _count(connection: Connection, query: str, parameters: list[object] | dict[str, object]) -> int:
    row = connection.execute(QUERIES[query], parameters).fetchone()
    return 0 if row is None else cast(int, row[0])

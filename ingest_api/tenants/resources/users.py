"""Users of the tenant, each with an e-mail address, a role and a password."""

from __future__ import annotations

import msgspec

from ingest_api.http.problems import rejection
from ingest_api.tenants.access.roles import permissions_of
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation
from ingest_api.tenants.api.problems import CONFLICT, FORBIDDEN
from sinks.postgres.catalogue.users.state import UserEvent
from sinks.postgres.catalogue.users.users import (
    Email,
    EmailTaken,
    Password,
    Role,
    User,
    change_password,
    change_role,
    change_state,
    find_user,
    list_users,
    lock_user,
    make_user,
)
from sinks.postgres.connect import Connection
from sinks.postgres.page import Page, as_mappings


class UserDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`email` is stored in small letters; a tenant has it once."""

    email: Email
    role: Role
    password: Password


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: Password


def listed(call: Call) -> Answer:
    return Answer(as_mappings(list_users(call.connection, call.tenant_id, limit=PAGE_ROWS, after=call.after)))


def create(call: Call) -> Answer:
    _require_at_most_own(call, call.body.role)
    try:
        made = make_user(
            *(call.connection, call.actor, call.tenant_id),
            *(call.body.email, call.body.role, call.password_hash),
            users_max=call.topology.tenants.users.users_max,
            random_text=call.random_text,
        )
    except EmailTaken:
        raise rejection(CONFLICT, "a user of the tenant has this e-mail address") from None
    return Answer(made._asdict(), 201)


def read(call: Call) -> Answer:
    return Answer(find_user(call.connection, call.tenant_id, call.id)._asdict())


def change(call: Call) -> Answer:
    before = _locked(call)
    call.require_unchanged(before._asdict())
    _require_at_most_own(call, call.body.role)
    return Answer(change_role(*_place(call), call.body.role)._asdict())


def disable(call: Call) -> Answer:
    _locked(call)
    return Answer(change_state(*_place(call), UserEvent.DISABLE)._asdict())


def enable(call: Call) -> Answer:
    _locked(call)
    return Answer(change_state(*_place(call), UserEvent.ENABLE)._asdict())


def set_password(call: Call) -> Answer:
    call.require_unchanged(_locked(call)._asdict())
    return Answer(change_password(*_place(call), call.password_hash)._asdict())


def _place(call: Call) -> tuple[Connection, str, str, str]:
    return (call.connection, call.actor, call.tenant_id, call.id)


def _locked(call: Call) -> User:
    """Nobody changes a user who may more: with that user's password the caller would get all of it."""
    before = lock_user(call.connection, call.tenant_id, call.id)
    _require_at_most_own(call, before.role)
    return before


def _require_at_most_own(call: Call, role: str) -> None:
    if not permissions_of(role, []) <= call.principal.permissions:
        raise rejection(FORBIDDEN, "the user would be, or is, allowed more than the token")


PATH = "/v1/users/{id}"
OPERATIONS = (
    Operation(
        *("listUsers", "GET", "/v1/users", "manage", "List users", listed),
        answer=Page[User],
        id_at="/items/0/user_id",
        query=AFTER,
    ),
    Operation(
        *("createUser", "POST", "/v1/users", "manage", "Create a user", create),
        answer=User,
        id_at="/user_id",
        body=UserDraft,
        status=201,
        has_password=True,
    ),
    Operation(*("readUser", "GET", PATH, "manage", "Read a user", read), answer=User),
    Operation(
        *("changeUser", "PUT", PATH, "manage", "Change a user's role", change),
        answer=User,
        body=UserChange,
        conditional=True,
    ),
    Operation(*("disableUser", "POST", f"{PATH}/disable", "manage", "Disable a user", disable), answer=User),
    Operation(*("enableUser", "POST", f"{PATH}/enable", "manage", "Enable a user", enable), answer=User),
    Operation(
        *("setPassword", "PUT", f"{PATH}/password", "manage", "Set a user's password", set_password),
        answer=User,
        body=NewPassword,
        conditional=True,
        has_password=True,
    ),
)

"""Who calls the tenant API, and what each role may do."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Permission = Literal["read", "write", "manage", "platform"]
Role = Literal["viewer", "editor", "owner", "platform"]

ROLES: tuple[Role, ...] = get_args(Role)
PERMISSIONS: dict[str, frozenset[Permission]] = {
    "viewer": frozenset(("read",)),
    "editor": frozenset(("read", "write")),
    "owner": frozenset(("read", "write", "manage")),
    "platform": frozenset(("read", "write", "manage", "platform")),
}
"""`write`: quizzes, campaigns, suppressions. `manage`: numbers, keys, users, log. `platform`: tenants."""

SCOPES: tuple[str, ...] = ("read", "write", "manage")  # what an API key may be limited to


class Principal(msgspec.Struct, frozen=True):
    """A caller whose token was verified. `tenant_id` is "*" for a platform caller.

    `revocation`: the hash under which the token is revoked; `expires_at_s`: seconds since the epoch.
    """

    subject: str
    tenant_id: str
    role: str
    permissions: frozenset[str]
    revocation: str
    expires_at_s: float


def permissions_of(role: str, scopes: list[str]) -> frozenset[str]:
    """What the role may do; of it only `scopes`, where there are any. An unknown role may do nothing."""
    allowed = PERMISSIONS.get(role, frozenset())
    return frozenset(allowed) if not scopes else frozenset(allowed) & frozenset(scopes)

"""Users of a tenant: what is stored of them, and which changes are possible."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from sinks.postgres.audit_log import entries
from sinks.postgres.catalogue.operations import add_tenant
from sinks.postgres.catalogue.rejections import UnknownTenant
from sinks.postgres.catalogue.users import passwords
from sinks.postgres.catalogue.users.emails import normalised
from sinks.postgres.catalogue.users.state import TRANSITIONS, UserEvent, UserState, after
from sinks.postgres.catalogue.users.users import (
    EmailTaken,
    LastOwner,
    UnknownUser,
    User,
    UserRejected,
    change_password,
    change_role,
    change_state,
    find_user,
    list_users,
    make_user,
)
from tests.support.sinks import Corner

texts = iter(range(1_000))


def made(corner: Corner, email: str, role: str = "owner", tenant: str = "acme", users_max: int = 9) -> User:
    def random_text(size: int) -> str:
        return f"{next(texts):03}".rjust(size, "x")

    add_tenant(corner.connection, "ana", tenant, tenant)
    given: tuple[Any, ...] = (corner.connection, "ana", tenant, email, role, "hash")
    return make_user(*given, users_max=users_max, random_text=random_text)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (" Ana@Example.COM ", "ana@example.com"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("ana@example@com", None),
        ("ana@", None),
        ("@example.com", None),
        ("ana@example.com.", None),
        ("a na@example.com", None),
        ("ana\x00@example.com", None),
        ("a" * 250 + "@b.cd", None),
    ],
    ids=["case", "composed", "two", "no-domain", "no-name", "dot", "blank", "nul", "long"],
)
def test_an_address_has_one_form(written: str, stored: str | None) -> None:
    assert normalised(written) == stored


def test_states_change_as_the_table_has_it() -> None:
    for state, event in product(UserState, UserEvent):
        assert after(state, event) == TRANSITIONS.get((state, event), state)
    assert {*TRANSITIONS.values()} == {*UserState}


def test_a_password_is_stored_as_a_hash_that_only_it_matches() -> None:
    hashed = passwords.hash_of("correct horse jose\u0301")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert passwords.matches("correct horse jos\u00e9", hashed)
    assert not passwords.matches("correct horse jose", hashed)
    assert not passwords.matches("correct horse jose", "no hash")
    assert not passwords.matches("\ud800" * 12, hashed)
    assert [passwords.problem("x" * size) is None for size in (11, 12, 128, 129)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_length_of_a_password_is_that_of_what_is_hashed() -> None:
    assert passwords.problem("e\u0301" * 6) is not None
    assert passwords.problem("e\u0301" * 12) is None


def test_a_tenant_has_an_address_once(corner: Corner) -> None:
    first = made(corner, "Ana@example.com")
    with pytest.raises(EmailTaken):
        made(corner, " ana@EXAMPLE.com")
    assert made(corner, "ana@example.com", tenant="umbrella").email == first.email
    for email, users_max in (("no address", 9), ("eva@example.com", 1)):
        with pytest.raises(UserRejected):
            made(corner, email, users_max=users_max)
    with pytest.raises(UnknownTenant):
        make_user(
            *(corner.connection, "ana", "none", "ana@example.com", "owner", "hash"),
            users_max=1,
            random_text=str,
        )


def test_the_last_active_owner_stays_one(corner: Corner) -> None:
    first, second = made(corner, "ana@example.com"), made(corner, "eva@example.com")
    place = (corner.connection, "ana", "acme")
    assert change_role(*place, second.user_id, "viewer").role == "viewer"
    with pytest.raises(LastOwner):
        change_role(*place, first.user_id, "editor")
    with pytest.raises(LastOwner):
        change_state(*place, first.user_id, UserEvent.DISABLE)
    change_role(*place, second.user_id, "owner")
    assert change_state(*place, second.user_id, UserEvent.DISABLE).state == "disabled"
    with pytest.raises(LastOwner):  # a disabled owner manages nothing
        change_state(*place, first.user_id, UserEvent.DISABLE)
    change_role(*place, second.user_id, "viewer")
    assert change_state(*place, second.user_id, UserEvent.ENABLE).state == "active"
    assert find_user(corner.connection, "acme", first.user_id) == first


def test_a_change_is_in_the_audit_log_once_and_without_the_address(corner: Corner) -> None:
    made(corner, "ana@example.com")
    user = made(corner, "eva@example.com", "editor")
    place = (corner.connection, "ana", "acme", user.user_id)
    for _ in range(2):
        change_role(*place, "viewer")
        change_state(*place, UserEvent.DISABLE)
    change_state(*place, UserEvent.ENABLE)
    changed = change_password(*place, "another hash")
    assert changed.password_changed_at > user.password_changed_at
    log = entries(corner.connection, limit=50, subject=user.user_id).items
    assert [one.action for one in log] == [
        *("user.password", "user.enable", "user.disable", "user.role", "user.create")
    ]
    assert "eva" not in str(log)
    with pytest.raises(UnknownUser):
        change_password(corner.connection, "ana", "umbrella", user.user_id, "hash")


def test_pages_have_each_user_of_the_tenant_once(corner: Corner) -> None:
    ids = [made(corner, f"{n}@example.com").user_id for n in range(3)]
    made(corner, "ana@example.com", tenant="umbrella")
    first = list_users(corner.connection, "acme", limit=2)
    second = list_users(corner.connection, "acme", limit=2, after=first.next)
    assert [one.user_id for one in (*first.items, *second.items)] == sorted(ids)
    assert second.next is None

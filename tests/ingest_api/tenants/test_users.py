"""A tenant manages its users, and nobody gets more than its own role by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ingest_api.http.problems import Rejection
from ingest_api.tenants.access.hashing import Hashing
from pipeline.topology.file import Hashing as Limits
from sinks.postgres.catalogue.users import passwords
from sinks.postgres.connect import connect
from tests.support.edge import wait_until
from tests.support.tenant_api import TenantApi, signed

TENANT = "people"
OWNER = signed(TENANT)
PLATFORM = signed("*", "platform")
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module", autouse=True)
def tenant(api: TenantApi) -> None:
    assert api.ask(PLATFORM, "PUT", f"/v1/tenants/{TENANT}", {"name": "People"}).status == 200


def draft(email: str, role: str = "editor", password: str = PASSWORD) -> dict[str, str]:
    return {"email": email, "role": role, "password": password}


def made(api: TenantApi, email: str, role: str = "editor") -> dict[str, Any]:
    answer = api.ask(OWNER, "POST", "/v1/users", draft(email, role))
    assert answer.status == 201, answer.body
    return dict(answer.json)


def test_a_user_is_made_changed_disabled_and_enabled(api: TenantApi) -> None:
    created = made(api, "Ana@Example.com")
    path = f"/v1/users/{created['user_id']}"
    assert (created["email"], created["role"], created["state"]) == ("ana@example.com", "editor", "active")
    read = api.ask(OWNER, "GET", path)
    assert read.json == created
    change = {"role": "viewer"}
    assert api.ask(OWNER, "PUT", path, change).problem == "if-match-required"
    own = {"if-match": read.headers["etag"]}
    assert api.ask(OWNER, "PUT", path, change, own).json["role"] == "viewer"
    assert api.ask(OWNER, "PUT", path, change, own).problem == "changed"
    assert api.ask(OWNER, "POST", f"{path}/disable").json["state"] == "disabled"
    assert api.ask(OWNER, "POST", f"{path}/disable").json["state"] == "disabled"
    assert api.ask(OWNER, "POST", f"{path}/enable").json["state"] == "active"
    assert created["user_id"] in str(api.ask(OWNER, "GET", "/v1/users").json["items"])
    log = api.ask(OWNER, "GET", f"/v1/audit-log?subject={created['user_id']}")
    assert "example.com" not in log.body.decode()


def test_an_address_is_taken_once_and_a_repetition_makes_no_second_user(api: TenantApi) -> None:
    once = {"idempotency-key": "one-user"}
    first = api.ask(OWNER, "POST", "/v1/users", draft("once@example.com"), once)
    again = api.ask(OWNER, "POST", "/v1/users", draft("once@example.com"), once)
    assert (again.status, again.body) == (201, first.body)
    assert api.ask(OWNER, "POST", "/v1/users", draft(" ONCE@example.com")).problem == "conflict"
    other = draft("once@example.com", password="another password")
    assert api.ask(OWNER, "POST", "/v1/users", other, once).problem == "key-reused"


def test_nothing_that_is_stored_or_shown_lets_a_password_be_guessed_fast(api: TenantApi) -> None:
    """Also the content hash of an idempotency key: its plain SHA-256 would give the password away."""
    import hashlib
    import json

    content = draft("hashed@example.com")
    once = {"idempotency-key": "hashed-user"}
    answer = api.ask(OWNER, "POST", "/v1/users", content, once)
    plain = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    with connect(api.settings.database_url, "test") as connection:
        requests = connection.execute("SELECT string_agg(t::text, '') FROM idempotent_requests AS t")
        users = connection.execute("SELECT string_agg(t::text, '') FROM users AS t")
        stored = str(requests.fetchone()) + str(users.fetchone())
    assert answer.json["user_id"] in stored
    for secret in (PASSWORD, plain):
        assert secret not in stored
    assert "$argon2id$" in stored
    assert "argon2" not in answer.body.decode()


def test_a_password_is_set_for_who_has_read_the_user(api: TenantApi) -> None:
    path = f"/v1/users/{made(api, 'set@example.com')['user_id']}"
    read = api.ask(OWNER, "GET", path)
    content = {"password": "another password"}
    assert api.ask(OWNER, "PUT", f"{path}/password", content).problem == "if-match-required"
    own = {"if-match": read.headers["etag"]}
    changed = api.ask(OWNER, "PUT", f"{path}/password", content, own)
    assert changed.json["password_changed_at"] > read.json["password_changed_at"]
    assert api.ask(OWNER, "PUT", f"{path}/password", content, own).problem == "changed"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (draft("short@example.com", password="x" * 11), "invalid-body"),
        (draft("long@example.com", password="x" * 129), "invalid-body"),
        (draft("few@example.com", password="e\u0301" * 6), "rejected"),
        (draft("role@example.com", "platform"), "invalid-body"),
        (draft("no address"), "rejected"),
        (draft("a\x00@example.com"), "rejected"),
        (draft("big@example.com") | {"role": "x" * 5000}, "body-too-large"),
    ],
    ids=["short", "long", "composed", "platform", "address", "nul", "big"],
)
def test_what_a_user_may_have_is_bounded(api: TenantApi, content: Any, problem: str) -> None:
    answer = api.ask(OWNER, "POST", "/v1/users", content)
    assert answer.problem == problem
    assert content["password"] not in answer.body.decode()


def test_nobody_makes_changes_or_takes_over_who_may_more(api: TenantApi) -> None:
    """A key that may manage alone would get all by the password of an owner."""
    keys = "/v1/api-keys"
    manager = api.ask(OWNER, "POST", keys, {"name": "m", "role": "owner", "scopes": ["manage"]}).json[
        "secret"
    ]
    wait_until(lambda: api.ask(manager, "GET", keys).status == 200, "the key")
    owner = f"/v1/users/{made(api, 'boss@example.com', 'owner')['user_id']}"
    viewer = f"/v1/users/{made(api, 'view@example.com', 'viewer')['user_id']}"
    any_version = {"if-match": "*"}
    attempts = [
        ("POST", "/v1/users", draft("mine@example.com", "owner")),
        ("PUT", f"{owner}/password", {"password": PASSWORD}),
        ("PUT", owner, {"role": "viewer"}),
        ("POST", f"{owner}/disable", None),
        ("PUT", viewer, {"role": "owner"}),
    ]
    for method, path, content in attempts:
        assert api.ask(manager, method, path, content, any_version).problem == "forbidden", path
        for role in ("viewer", "editor"):
            token = signed(TENANT, role)
            assert api.ask(token, method, path, content, any_version).problem == "forbidden", path
    assert api.ask(OWNER, "PUT", viewer, {"role": "editor"}, any_version).json["role"] == "editor"


def test_the_last_owner_is_not_disabled_by_two_requests_at_once(api: TenantApi) -> None:
    assert api.ask(PLATFORM, "PUT", "/v1/tenants/two-owners", {"name": "Two"}).status == 200
    token = signed("two-owners")
    ids = [
        api.ask(token, "POST", "/v1/users", draft(f"{n}@example.com", "owner")).json["user_id"]
        for n in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: api.ask(token, "POST", f"/v1/users/{one}/disable"), ids))
    assert sorted(one.status for one in answers) == [200, 422]
    states = [one["state"] for one in api.ask(token, "GET", "/v1/users").json["items"]]
    assert sorted(states) == ["active", "disabled"]


@pytest.fixture
def hashing() -> Iterator[Hashing]:
    one = Hashing(Limits(threads=1, waiting_max=1))
    yield one
    one.close()


def test_a_flood_of_passwords_is_answered_and_leaves_the_event_loop_free(hashing: Hashing) -> None:
    async def flood() -> list[Any]:
        calls = [asyncio.ensure_future(hashing.hash_of(PASSWORD)) for _ in range(5)]
        turns = 0
        while not all(call.done() for call in calls):
            turns += 1
            await asyncio.sleep(0)
        assert turns > 100
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(flood())
    rejected = [one for one in answers if isinstance(one, Rejection)]
    assert [passwords.matches(PASSWORD, one) for one in answers if isinstance(one, str)] == [True, True]
    assert [one.problem.kind.status for one in rejected] == [503] * 3
    assert passwords.matches(PASSWORD, asyncio.run(hashing.hash_of(PASSWORD)))

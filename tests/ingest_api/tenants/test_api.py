"""A tenant does its work through the API, and no request reaches another tenant's."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any, ClassVar

import psycopg
import pytest

from ingest_api.tenants.access.roles import Principal, permissions_of
from ingest_api.tenants.api.operation import PAGE_ROWS, Call, Operation
from ingest_api.tenants.pool.database import NotChecked
from ingest_api.tenants.resources.every import OPERATIONS
from ingest_api.tenants.server import make
from schemas.codec import codec
from sinks.delivery import stop_switch
from sinks.postgres.catalogue.api_keys import revocation_of
from sinks.postgres.connect import connect
from sinks.postgres.isolation.apply import NotIsolated
from sinks.postgres.isolation.login import tenants_url
from sinks.postgres.partitions import Partition, create
from tests.support.edge import records_of, wait_until
from tests.support.tenant_api import TenantApi, signed

QUIZ = {"title": "Feedback", "questions": [{"question_id": "q1", "text": "How was it?"}]}
ACME, UMBRELLA = signed("acme"), signed("umbrella")
PLATFORM = signed("*", "platform")
PASSWORD = "correct horse battery"


def campaign_of(quiz_id: str) -> dict[str, Any]:
    message = {"kind": "text", "text": "Hello"}
    return {"name": "Club", "quiz_ids": [quiz_id], "message": message}


def user_of(name: str) -> dict[str, Any]:
    return {"email": f"{name}@example.com", "role": "editor", "password": PASSWORD}


def made(api: TenantApi, token: str, path: str, content: Any) -> dict[str, Any]:
    answer = api.ask(token, "POST", path, content)
    assert answer.status in (200, 201), answer.body
    return dict(answer.json)


@pytest.fixture(scope="module")
def quiz_id(api: TenantApi) -> str:
    return str(made(api, ACME, "/v1/quizzes", QUIZ)["quiz_id"])


def test_a_quiz_is_made_changed_and_published(api: TenantApi) -> None:
    created = made(api, ACME, "/v1/quizzes", QUIZ)
    path = f"/v1/quizzes/{created['quiz_id']}"
    read = api.ask(ACME, "GET", path)
    assert read.json == created
    assert api.ask(ACME, "GET", path, headers={"if-none-match": read.headers["etag"]}).status == 304
    changed = QUIZ | {"title": "Feedback, again"}

    assert api.ask(ACME, "PUT", path, changed).problem == "if-match-required"
    assert api.ask(ACME, "PUT", path, changed, {"if-match": '"another"'}).problem == "changed"
    saved = api.ask(ACME, "PUT", path, changed, {"if-match": read.headers["etag"]})
    assert (saved.json["version"], saved.json["title"]) == (2, "Feedback, again")
    assert api.ask(ACME, "PUT", path, changed, {"if-match": read.headers["etag"]}).problem == "changed"

    def versions() -> list[int]:
        events = records_of(api.settings, api.topology.topic("quizzes"))
        of_it = [value for key, value in events if key.decode() == created["quiz_id"]]
        return [codec("quiz").decode(value).version for value in of_it]

    wait_until(lambda: versions() == [1, 2], "both versions in the topic")


def test_a_webhook_is_changed_in_part_and_kept_while_it_is_held(api: TenantApi) -> None:
    hook = {"url": "https://hooks.example.com/part", "kinds": ["delivery.read"], "enabled": False}
    created = made(api, ACME, "/v1/webhooks", hook)["endpoint"]
    path = f"/v1/webhooks/{created['endpoint_id']}"
    assert api.ask(ACME, "POST", "/v1/webhooks", hook).problem == "rejected"
    read = api.ask(ACME, "GET", path)
    with connect(api.settings.database_url, "test") as connection:
        connection.execute(
            "UPDATE webhook_endpoints SET failing_since = now(), held_reason = 'floods' WHERE url = %s",
            [hook["url"]],
        )
    own = {"if-match": read.headers["etag"]}
    again = api.ask(ACME, "GET", path, headers={"if-none-match": read.headers["etag"]})
    assert (again.status, again.json["held_reason"]) == (200, "floods")
    changed = api.ask(ACME, "PUT", path, {"description": "of the shop"}, own)
    assert changed.json == again.json | {"description": "of the shop"}
    assert api.ask(ACME, "PUT", path, {"enabled": True}, own).problem == "changed"
    assert api.ask(ACME, "DELETE", path).problem == "held"
    with connect(api.settings.database_url, "test") as connection:
        connection.execute("UPDATE webhook_endpoints SET held_reason = '' WHERE tenant_id = 'acme'")
    assert api.ask(ACME, "DELETE", path).status == 204


def test_a_campaign_is_paused_resumed_and_cancelled(api: TenantApi, quiz_id: str) -> None:
    campaign = made(api, ACME, "/v1/campaigns", campaign_of(quiz_id))
    path = f"/v1/campaigns/{campaign['campaign_id']}"
    assert campaign["state"] == "active"
    assert api.ask(ACME, "POST", f"{path}/pause", {"reason": "wrong text"}).json["state"] == "paused"
    assert api.ask(ACME, "POST", f"{path}/resume").json["state"] == "active"
    assert api.ask(ACME, "POST", f"{path}/cancel").json["state"] == "cancelled"
    listed = api.ask(ACME, "GET", "/v1/campaigns").json["items"]
    states = {one["campaign_id"]: one["state"] for one in listed}
    assert states[campaign["campaign_id"]] == "cancelled"
    log = api.ask(ACME, "GET", "/v1/audit-log").json["items"]
    told = [one["action"] for one in log if campaign["campaign_id"] in one["subject"]]
    assert told == ["campaign.cancel", "sending.resume", "sending.stop", "campaign.save"]
    assert campaign["campaign_id"] not in api.ask(UMBRELLA, "GET", "/v1/audit-log").body.decode()


def test_a_change_keeps_what_it_leaves_out(api: TenantApi, quiz_id: str) -> None:
    """A campaign that goes by SMS must not go by WhatsApp because its name was corrected."""
    further = {"channel": "email", "text": "Hello", "subject": "Hi"}
    optional: dict[str, Any] = {"active": False, "priority": 7, "delay_s": 60, "ends_at": 2_000_000_000_000}
    optional |= {"channel": "sms", "next_channels": [further]}
    content = campaign_of(quiz_id)
    campaign = made(api, ACME, "/v1/campaigns", content | optional)
    path = f"/v1/campaigns/{campaign['campaign_id']}"
    changed = api.ask(ACME, "PUT", path, content | {"name": "Renamed"}, {"if-match": "*"}).json
    assert changed["name"] == "Renamed"
    assert changed["state"] == "inactive"
    shown = {name: changed[name] for name in optional if name != "active"}
    assert shown == {name: value for name, value in optional.items() if name != "active"}
    ended = api.ask(ACME, "PUT", path, content | {"ends_at": None, "next_channels": []}, {"if-match": "*"})
    assert (ended.json["ends_at"], ended.json["next_channels"]) == (None, [])

    quiz = made(api, ACME, "/v1/quizzes", QUIZ | {"open": False, "page": {}})
    quiz_path = f"/v1/quizzes/{quiz['quiz_id']}"
    renamed = api.ask(ACME, "PUT", quiz_path, QUIZ | {"title": "x"}, {"if-match": "*"}).json
    assert (renamed["open"], renamed["page"]) == (False, quiz["page"])
    assert quiz["page"] is not None


def test_a_tenants_slow_requests_leave_connections_to_the_others(api: TenantApi) -> None:
    created = made(api, ACME, "/v1/quizzes", QUIZ)
    path = f"/v1/quizzes/{created['quiz_id']}"
    share = api.topology.tenants.pool.of_tenant_max

    def change(_number: int) -> int:
        return api.ask(ACME, "PUT", path, QUIZ, {"if-match": "*"}).status

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    waiting += " AND datname = current_database()"
    with connect(api.settings.database_url, "test") as connection, ThreadPoolExecutor(share) as pool:
        with connection.transaction():
            connection.execute("SELECT FROM quizzes WHERE quiz_id = %s FOR UPDATE", [created["quiz_id"]])
            slow = [pool.submit(change, number) for number in range(share)]
            with connect(api.settings.database_url, "looks") as looks:
                wait_until(lambda: looks.execute(waiting).fetchone() == (share,), "all to wait for the row")
            refused = api.ask(ACME, "GET", "/v1/quizzes")
            assert refused.problem == "rate-limited"
            assert int(refused.headers["retry-after"]) >= 1
            assert api.ask(UMBRELLA, "GET", "/v1/quizzes").status == 200
        assert {one.result() for one in slow} == {200}
    assert api.ask(ACME, "GET", "/v1/quizzes").status == 200


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/campaigns/none/pause", {"reason": "x" * 501}),
        ("/v1/suppressions", {"reason": "x" * 501, "contact_ids": ["c1"]}),
        ("/v1/suppressions", {"reason": "", "contact_ids": ["x" * 129]}),
        ("/v1/campaigns", {"name": "", "quiz_ids": ["q"] * 101, "message": {"kind": "text", "text": "x"}}),
        ("/v1/api-keys", {"name": "k", "scopes": ["read"] * 4}),
    ],
    ids=["pause", "suppressions", "contact", "quizzes", "scopes"],
)
def test_what_a_request_may_hold_is_bounded(api: TenantApi, path: str, content: Any) -> None:
    assert api.ask(ACME, "POST", path, content).status == 422


def test_a_tenant_ends_its_own_pause_and_not_the_stop_of_others(api: TenantApi, quiz_id: str) -> None:
    """Nor does the operator end the tenant's: both must let a campaign or a number send again."""
    campaign = made(api, ACME, "/v1/campaigns", campaign_of(quiz_id))["campaign_id"]
    number = {"number_id": "5599", "tenant_id": "acme", "provider": "meta-cloud"}
    number |= {"base_url": "https://graph.facebook.com", "credential": "ACME_TOKEN"}
    as_acme = {"quizstream-tenant": "acme"}
    assert api.ask(PLATFORM, "PUT", "/v1/numbers/5599", number, as_acme).status == 200
    path = f"/v1/campaigns/{campaign}"
    with connect(api.settings.database_url, "test") as operator:
        stop_switch.stop_sending(operator, f"campaign:{campaign}", "rejected by the provider", "ana")
        stop_switch.hold_number(operator, "5599", "unpaid", "ana")
        assert api.ask(ACME, "GET", path).json["state"] == "stopped"
        for one in (path, "/v1/numbers/5599"):
            assert api.ask(ACME, "POST", f"{one}/resume").problem == "held"
            assert api.ask(ACME, "POST", f"{one}/pause", {"reason": "ours"}).status in (200, 204)
            assert api.ask(ACME, "POST", f"{one}/resume").status in (200, 204)
            assert api.ask(ACME, "POST", f"{one}/pause", {"reason": "ours"}).status in (200, 204)
        assert stop_switch.resume_sending(operator, f"campaign:{campaign}", "ana")
        assert stop_switch.release_number(operator, "5599", "ana")
        assert api.ask(ACME, "GET", path).json["state"] == "paused"
        paused = {stop.scope for stop in stop_switch.stops(operator) if stop.by_tenant}
        assert {f"campaign:{campaign}", "number:5599"} <= paused
    for one in (path, "/v1/numbers/5599"):
        assert api.ask(ACME, "POST", f"{one}/resume").status in (200, 204)
    assert api.ask(ACME, "GET", path).json["state"] == "active"


def test_a_repeated_pause_waits_for_nothing(api: TenantApi, quiz_id: str) -> None:
    """Its lock would hold up the senders of all tenants, as often as one tenant repeats it."""
    campaign = made(api, ACME, "/v1/campaigns", campaign_of(quiz_id))["campaign_id"]
    path = f"/v1/campaigns/{campaign}"
    assert api.ask(ACME, "POST", f"{path}/pause", {}).status == 200
    with connect(api.settings.database_url, "test") as sender, sender.transaction():
        sender.execute("LOCK TABLE sending_stops IN ROW SHARE MODE")  # a mark under way
        assert api.ask(ACME, "POST", f"{path}/pause", {}).json["state"] == "paused"


def test_a_campaign_that_cannot_be_saved_states_why(api: TenantApi) -> None:
    answer = api.ask(ACME, "POST", "/v1/campaigns", campaign_of("no-such-quiz"))
    assert answer.problem == "rejected"
    assert 'its tenant has no quiz "no-such-quiz"' in answer.json["detail"]


def test_a_quiz_that_its_topic_does_not_take_is_rejected(api: TenantApi) -> None:
    """Within the bound of a body, but with the ids of the questions that it had before."""

    def with_ids(letter: str) -> dict[str, Any]:
        ids = [f"{letter}{number}".ljust(2000, letter) for number in range(400)]
        return {"title": "Long", "questions": [{"question_id": one} for one in ids]}

    path = f"/v1/quizzes/{made(api, ACME, '/v1/quizzes', with_ids('a'))['quiz_id']}"
    answer = api.ask(ACME, "PUT", path, with_ids("b"), {"if-match": "*"})
    assert answer.problem == "rejected"
    assert "bytes" in answer.json["detail"]
    assert api.ask(ACME, "GET", path).json["version"] == 1


def test_a_repeated_post_changes_nothing_and_is_answered_as_before(api: TenantApi) -> None:
    once = {"idempotency-key": "one-quiz"}
    first = api.ask(ACME, "POST", "/v1/quizzes", QUIZ, once)
    again = api.ask(ACME, "POST", "/v1/quizzes", QUIZ, once)
    assert (again.status, again.body) == (first.status, first.body)
    assert api.ask(ACME, "POST", "/v1/quizzes", QUIZ | {"title": "x"}, once).problem == "key-reused"
    other = api.ask(UMBRELLA, "POST", "/v1/quizzes", QUIZ, once)  # a key of another tenant is another key
    assert other.json["quiz_id"] != first.json["quiz_id"]


def test_contacts_are_suppressed_by_phone_and_allowed_again(api: TenantApi) -> None:
    content = {"reason": "asked for it", "phones": ["+55 47 98921-1984"]}
    assert made(api, ACME, "/v1/suppressions", content) == {"added": 1}
    assert made(api, ACME, "/v1/suppressions", content) == {"added": 0}
    (one,) = api.ask(ACME, "GET", "/v1/suppressions").json["items"]
    path = f"/v1/suppressions/{one['contact_id']}"
    assert api.ask(UMBRELLA, "DELETE", path).status == 404
    assert api.ask(ACME, "DELETE", path).status == 204
    assert api.ask(ACME, "GET", "/v1/suppressions").json["items"] == []
    wrong = api.ask(ACME, "POST", "/v1/suppressions", {"reason": "", "phones": ["12"]})
    assert (wrong.problem, wrong.json["pointer"]) == ("rejected", "#/phones/0")


def test_an_api_key_is_made_rotated_and_revoked(api: TenantApi) -> None:
    draft = {"name": "shop", "role": "editor", "scopes": ["read"]}
    key = made(api, ACME, "/v1/api-keys", draft)

    def status(secret: str, method: str = "GET", content: Any = None) -> int:
        return api.ask(secret, method, "/v1/quizzes", content).status

    wait_until(lambda: status(key["secret"]) == 200, "the key to be known")
    assert status(key["secret"], "POST", QUIZ) == 403
    rotated = made(api, ACME, f"/v1/api-keys/{key['key_id']}/rotate", {"overlap_s": 0})
    wait_until(lambda: status(key["secret"]) == 401, "the old key to end")
    wait_until(lambda: status(rotated["secret"]) == 200, "the new key to be known")
    assert api.ask(UMBRELLA, "POST", f"/v1/api-keys/{rotated['key_id']}/revoke").status == 404
    assert made(api, ACME, f"/v1/api-keys/{rotated['key_id']}/revoke", None) == {"changed": True}
    wait_until(lambda: status(rotated["secret"]) == 401, "the key to be revoked")
    listed = api.ask(ACME, "GET", "/v1/api-keys")
    assert key["secret"] not in listed.body.decode()


def test_a_key_never_may_more_than_its_maker(api: TenantApi) -> None:
    assert api.ask(signed("acme", "editor"), "POST", "/v1/api-keys", {"name": "k"}).problem == "forbidden"
    manager = made(api, ACME, "/v1/api-keys", {"name": "m", "role": "owner", "scopes": ["manage"]})
    wait_until(lambda: api.ask(manager["secret"], "GET", "/v1/api-keys").status == 200, "the key")
    more = api.ask(manager["secret"], "POST", "/v1/api-keys", {"name": "k", "role": "owner"})
    assert more.problem == "forbidden"


def test_no_secret_is_stored_for_a_repetition(api: TenantApi) -> None:
    once = {"idempotency-key": "one-key"}
    first = api.ask(ACME, "POST", "/v1/api-keys", {"name": "once", "role": "owner"}, once)
    again = api.ask(ACME, "POST", "/v1/api-keys", {"name": "once", "role": "owner"}, once)
    path = f"/v1/api-keys/{first.json['key_id']}/rotate"
    rotated = api.ask(ACME, "POST", path, {}, once | {"idempotency-key": "one-rotation"})
    assert again.json == {"key_id": first.json["key_id"], "secret": None}
    with connect(api.settings.database_url, "test") as connection:
        stored = connection.execute("SELECT string_agg(t::text, '') FROM idempotent_requests AS t").fetchone()
    for answer in (first, rotated):
        secret = answer.json["secret"]
        assert secret.startswith("qsk_")
        assert stored is not None
        assert secret not in str(stored[0])
        assert secret.encode().hex() not in str(stored[0])


def test_a_rotated_key_never_may_more_than_who_rotates_it(api: TenantApi) -> None:
    """The first key may manage alone: by rotating another one it would get all of that one's permissions."""
    manager = made(api, ACME, "/v1/api-keys", {"name": "m", "role": "owner", "scopes": ["manage"]})
    full = made(api, ACME, "/v1/api-keys", {"name": "full", "role": "owner"})
    wait_until(lambda: api.ask(manager["secret"], "GET", "/v1/api-keys").status == 200, "the key")
    path = f"/v1/api-keys/{full['key_id']}/rotate"
    assert api.ask(manager["secret"], "POST", path, {"overlap_s": 0}).problem == "forbidden"
    own = made(api, manager["secret"], f"/v1/api-keys/{manager['key_id']}/rotate", {})
    wait_until(lambda: api.ask(own["secret"], "GET", "/v1/api-keys").status == 200, "its successor")
    assert api.ask(own["secret"], "GET", "/v1/quizzes").problem == "forbidden"
    assert api.ask(ACME, "POST", path, {}).status == 201


def test_a_platform_token_is_revoked_by_the_platform_alone(api: TenantApi) -> None:
    lost = signed("*", "platform", jti="lost-platform")
    path, content = "/v1/platform-tokens/revoke", {"token_id": "lost-platform"}
    assert api.ask(lost, "GET", "/v1/tenants").status == 200
    assert api.ask(ACME, "POST", path, content).problem == "forbidden"
    made(api, ACME, "/v1/tokens/revoke", content)  # one of acme with this id, if there were one
    assert api.ask(PLATFORM, "POST", path, content).json == {"changed": True}
    wait_until(lambda: api.ask(lost, "GET", "/v1/tenants").status == 401, "the revocation")
    assert api.ask(PLATFORM, "POST", path, content).json == {"changed": False}


def test_a_signed_token_is_revoked_everywhere(api: TenantApi) -> None:
    lost = signed("acme", "viewer", jti="lost")
    assert api.ask(lost, "GET", "/v1/quizzes").status == 200
    made(api, ACME, "/v1/tokens/revoke", {"token_id": "lost"})
    wait_until(lambda: api.ask(lost, "GET", "/v1/quizzes").status == 401, "the revocation")
    made(api, UMBRELLA, "/v1/tokens/revoke", {"token_id": "acme-owner"})  # another tenant's: no matter
    hashed = revocation_of("umbrella", "acme-owner").encode()
    wait_until(
        lambda: hashed in dict(records_of(api.settings, api.topology.topic("tokens"))), "its revocation"
    )
    assert api.ask(ACME, "GET", "/v1/quizzes").status == 200


def test_pages_of_a_list_have_each_object_once(api: TenantApi) -> None:
    token = signed("hooli")
    saved = api.ask(PLATFORM, "PUT", "/v1/tenants/hooli", {"name": "Hooli"})
    assert saved.json == {"changed": True}
    for number in range(PAGE_ROWS + 2):
        made(api, token, "/v1/quizzes", QUIZ | {"title": str(number)})
    first = api.ask(token, "GET", "/v1/quizzes").json
    second = api.ask(token, "GET", f"/v1/quizzes?after={first['next']}").json
    titles = [one["title"] for one in (*first["items"], *second["items"])]
    assert (len(first["items"]), second["next"]) == (PAGE_ROWS, None)
    assert sorted(titles, key=int) == [str(number) for number in range(PAGE_ROWS + 2)]


def test_a_platform_token_acts_for_the_tenant_that_it_names(api: TenantApi) -> None:
    assert api.ask(PLATFORM, "GET", "/v1/quizzes").problem == "no-tenant"
    listed = api.ask(PLATFORM, "GET", "/v1/quizzes", headers={"quizstream-tenant": "umbrella"})
    assert listed.status == 200
    names = [one["tenant_id"] for one in api.ask(PLATFORM, "GET", "/v1/tenants").json["items"]]
    assert {"acme", "umbrella"} <= {*names}
    named = api.ask(ACME, "GET", "/v1/quizzes", headers={"quizstream-tenant": "umbrella"})
    assert named.problem == "forbidden"
    number = {
        "number_id": "5511",
        "tenant_id": "acme",
        "provider": "meta-cloud",
        "base_url": "https://graph.facebook.com",
        "credential": "ACME_TOKEN",
    }
    as_acme = {"quizstream-tenant": "acme"}
    assert api.ask(ACME, "PUT", "/v1/numbers/5511", number).problem == "forbidden"
    assert api.ask(PLATFORM, "PUT", "/v1/numbers/5511", number, as_acme).status == 200
    assert api.ask(ACME, "POST", "/v1/numbers/5511/pause", {"reason": "moved"}).status == 204
    (shown,) = [
        one for one in api.ask(ACME, "GET", "/v1/numbers").json["items"] if one["number_id"] == "5511"
    ]
    assert (shown["state"], shown["stopped"]) == ("active", True)
    theirs = number | {"tenant_id": "umbrella"}
    taken = api.ask(PLATFORM, "PUT", "/v1/numbers/5511", theirs, {"quizstream-tenant": "umbrella"})
    assert taken.problem == "conflict"


DELIVERY = "0197d0f0-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def rows_of_acme(api: TenantApi) -> None:
    """A contact, a delivery, a number and a message of acme: what nobody has, nobody finds."""
    with connect(api.settings.database_url, "test") as connection:
        create(connection, Partition("deliveries", (date(2026, 11, 30) - date(1970, 1, 1)).days))
        connection.execute(
            "INSERT INTO contacts (tenant_id, contact_id, seen_at) VALUES ('acme', 'c1', now())"
            " ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
            " campaign_version, completion_id, completion_day, due_at)"
            " VALUES ('2026-11-30', 'old', 'c1', %s, 'acme', 1, gen_random_uuid(), '2026-11-30', now())",
            [DELIVERY],
        )
        connection.execute(
            "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
            " VALUES ('5522', 'acme', 'meta-cloud', 'https://graph.facebook.com', 'ACME_TOKEN')"
        )
        connection.execute(
            "INSERT INTO webhook_endpoints (endpoint_id, tenant_id, url, kinds, salt)"
            " VALUES ('whe_1', 'acme', 'https://hooks.example.com/', '{delivery.sent}', 'salt')"
        )
        connection.execute(
            "INSERT INTO webhook_messages (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind,"
            " content, state)"
            " VALUES ('msg_1', 'acme', 'whe_1', %s, 4, 'delivery.sent', '{}', 'failed')",
            [DELIVERY],
        )


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_route_with_another_tenants_ids_finds_nothing(
    api: TenantApi, quiz_id: str, rows_of_acme: None, operation: Operation
) -> None:
    """The application compares no tenant here that the database would not: see the test of isolation."""
    assert api.ask(None, operation.method, operation.path.replace("{id}", quiz_id)).status == 401
    hook = {"url": f"https://hooks.example.com/{operation.name}"}
    ids = {
        "quizzes": quiz_id,
        "campaigns": made(api, ACME, "/v1/campaigns", campaign_of(quiz_id))["campaign_id"]
        if "campaigns" in operation.path and "{id}" in operation.path
        else "",
        "api-keys": made(api, ACME, "/v1/api-keys", {"name": "k"})["key_id"]
        if "api-keys" in operation.path and "{id}" in operation.path
        else "",
        "tenants": "acme",
        "contacts": "c1",
        "deliveries": DELIVERY,
        "suppressions": "c1",
        "numbers": "5522",
        "webhooks": made(api, ACME, "/v1/webhooks", hook)["endpoint"]["endpoint_id"]
        if "webhooks" in operation.path and "{id}" in operation.path
        else "",
        "webhook-messages": "msg_1",
        "users": made(api, ACME, "/v1/users", user_of(operation.name))["user_id"]
        if "users" in operation.path and "{id}" in operation.path
        else "",
    }
    made(api, ACME, "/v1/suppressions", {"reason": "", "contact_ids": ["c1"]})
    collection = operation.path.split("/")[2]
    path = operation.path.replace("{id}", str(ids.get(collection, "")))
    bodies: dict[str, Any] = {
        "QuizContent": QUIZ,
        "CampaignContent": campaign_of(quiz_id),
        "Reason": {"reason": ""},
        "Rotate": {},
        "EndpointDraft": hook,
        "EndpointChange": hook,
        "KeyDraft": {"name": "k"},
        "RevokeSigned": {"token_id": "none"},
        "Suppress": {"reason": "", "contact_ids": ["own"]},
        "TenantContent": {"name": "Taken"},
        "UserDraft": user_of("own"),
        "UserChange": {"role": "viewer"},
        "NewPassword": {"password": PASSWORD},
        "NumberDraft": {
            "number_id": "5522",
            "tenant_id": "acme",
            "provider": "meta-cloud",
            "base_url": "https://x.example",
            "credential": "X",
        },
    }
    body = None if operation.body is None else bodies[operation.body.__name__]
    answer = api.ask(UMBRELLA, operation.method, path, body, {"if-match": "*"})
    if "{id}" in operation.path and operation.permission != "platform":
        own = api.ask(ACME, operation.method, path, body, {"if-match": "*"})
        assert own.status in (200, 201, 204), own.body  # so that the other tenant could find it
    if re.search("{id}", operation.path) or operation.permission == "platform":
        assert answer.status in (403, 404), answer.body
    elif operation.name == "createCampaign":
        assert answer.status == 422  # of another tenant's quiz
    else:
        assert answer.status in (200, 201, 204), answer.body
        assert "acme" not in answer.body.decode()
        assert quiz_id not in answer.body.decode()


class Counting(psycopg.Cursor[Any]):
    """Counts the statements of one test."""

    statements: ClassVar[list[str]] = []

    def execute(self, query: Any, *args: Any, **named: Any) -> Any:
        self.statements.append(str(query))
        return super().execute(query, *args, **named)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.paged], ids=lambda one: one.name)
def test_a_page_is_one_query(api: TenantApi, operation: Operation) -> None:
    with psycopg.connect(tenants_url(api.settings), cursor_factory=Counting) as connection:
        principal = Principal("ana", "acme", "owner", permissions_of("owner", []), "", 0.0)
        call = Call(*(principal, "acme", {}, {}, None, None, 0, connection, api.topology, b"", lambda _: ""))
        Counting.statements.clear()
        operation.work(call)
    assert len(Counting.statements) == 1


@pytest.mark.parametrize(
    ("method", "path", "content", "problem"),
    [
        ("GET", "/v1/quizzes?limit=1", None, "invalid-query"),
        ("GET", "/v1/quizzes?after=%00", None, "invalid-query"),
        ("GET", "/v1/quizzes?after=%ff", None, "invalid-query"),
        ("GET", "/v1/deliveries?after=x", None, "invalid-query"),
        ("GET", "/v1/deliveries?state=x", None, "invalid-query"),
        ("GET", "/v1/deliveries/none", None, "unknown"),
        ("GET", "/v1/audit-log?after=x", None, "invalid-query"),
        ("GET", "/v1/audit-log?after=99999999999999999999", None, "invalid-query"),
        ("GET", "/v1/quizzes/none/funnel?since=x", None, "invalid-query"),
        ("GET", "/v1/webhook-messages?after=x", None, "invalid-query"),
        ("GET", "/v1/webhook-messages?state=x", None, "invalid-query"),
        ("POST", "/v1/webhook-messages/none/redeliver", None, "unknown"),
        ("POST", "/v1/webhooks", {"url": "http://hooks.example.com/"}, "rejected"),
        ("POST", "/v1/webhooks", {"url": "https://127.0.0.1/"}, "rejected"),
        ("POST", "/v1/webhooks", {"url": "https://hooks.example.com/", "kinds": ["all"]}, "rejected"),
        ("GET", "/v1/quizzes/none/funnel", None, "unknown"),
        ("GET", "/v1/quizzes/a%00b", None, "unknown"),
        ("POST", "/v1/quizzes", b"{", "invalid-json"),
        ("POST", "/v1/quizzes", b"{}", "invalid-body"),
        ("POST", "/v1/quizzes", b'{"title":"a","title":"b","questions":[]}', "repeated-field"),
        ("POST", "/v1/quizzes", {"title": "\x00", "questions": []}, "rejected"),
        ("POST", "/v1/quizzes", b" " * 2_000_000, "body-too-large"),
        ("GET", "/v2/quizzes", None, "not-found"),
        ("DELETE", "/v1/quizzes", None, "method-not-allowed"),
    ],
    ids=str,
)
def test_bad_requests_are_rejected_with_their_problem(
    api: TenantApi, method: str, path: str, content: Any, problem: str
) -> None:
    assert api.ask(ACME, method, path, content).problem == problem


def test_a_quizs_funnel_and_drop_off_are_shown(api: TenantApi, quiz_id: str) -> None:
    funnel = api.ask(ACME, "GET", f"/v1/quizzes/{quiz_id}/funnel").json
    assert (funnel["started"], funnel["completed"], funnel["sent"]) == (0, 0, 0)
    assert api.ask(ACME, "GET", f"/v1/quizzes/{quiz_id}/drop-off").json["visits"] == 0


def test_a_funnel_counts_the_messages_of_its_own_completions(api: TenantApi, quiz_id: str) -> None:
    """Of a campaign of two quizzes, the other quiz's are not among them."""
    other = made(api, ACME, "/v1/quizzes", QUIZ)["quiz_id"]
    campaign = made(api, ACME, "/v1/campaigns", campaign_of(quiz_id) | {"quiz_ids": [quiz_id, other]})
    day = date(2026, 11, 30)
    with connect(api.settings.database_url, "test") as connection:
        create(connection, Partition("completions", (day - date(1970, 1, 1)).days))
        create(connection, Partition("deliveries", (day - date(1970, 1, 1)).days))
        for contact, quiz in (("f1", quiz_id), ("f2", other), ("f3", other)):
            connection.execute(
                "WITH made AS (INSERT INTO completions (day, completion_id, tenant_id, quiz_id, quiz_version,"
                " contact_id, submitted_at, accepted_at, answers)"
                " VALUES (%(day)s, gen_random_uuid(), 'acme', %(quiz)s, 1, %(contact)s, now(), now(), '{}')"
                " RETURNING completion_id)"
                " INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
                " campaign_version, completion_id, completion_day, due_at, state)"
                " SELECT %(day)s, %(campaign)s, %(contact)s, gen_random_uuid(), 'acme', 1, completion_id,"
                " %(day)s, now(), 'sent' FROM made",
                {"day": day, "quiz": quiz, "contact": contact, "campaign": campaign["campaign_id"]},
            )
    for one, completed in ((quiz_id, 1), (other, 2)):
        shown = api.ask(ACME, "GET", f"/v1/quizzes/{one}/funnel?since=2026-11-29&until=2026-11-30").json
        assert (shown["completed"], shown["matched"], shown["sent"]) == (completed, completed, completed)


def test_the_process_logs_in_without_power_over_policies(api: TenantApi) -> None:
    with connect(tenants_url(api.settings), "test") as connection:
        shown = connection.execute("SELECT current_user, count(*) FROM quizzes").fetchone()
        assert shown == ("quizstream_tenants", 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET ROLE quizstream")


def test_a_process_with_the_owners_login_is_not_ready(api: TenantApi) -> None:
    wrong = make(replace(api.settings, tenants_database_url=api.settings.database_url), api.topology)
    wrong._database.start()
    try:
        with pytest.raises(NotIsolated, match="QUIZSTREAM_TENANTS_DATABASE_URL"):
            wrong._database.check()
        with pytest.raises(NotChecked):
            asyncio.run(wrong._database.run("acme", lambda _connection: None))
    finally:
        wrong._database.close()

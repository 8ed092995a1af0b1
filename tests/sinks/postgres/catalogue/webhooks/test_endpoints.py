"""A tenant's endpoints: what is stored of them, and who sees it."""

from __future__ import annotations

import pytest

from sinks.delivery.state import OPEN, DeliveryState
from sinks.postgres.audit_log import entries
from sinks.postgres.catalogue.webhooks.endpoints import (
    KINDS,
    EndpointChange,
    EndpointDraft,
    EndpointHeld,
    EndpointRejected,
    Limits,
    UnknownEndpoint,
    change_endpoint,
    delete_endpoint,
    find_endpoint,
    hold_endpoint,
    list_endpoints,
    make_endpoint,
    rotate_secret,
)
from sinks.postgres.catalogue.webhooks.messages import UnknownMessage, list_messages, redeliver
from sinks.postgres.catalogue.webhooks.secrets import secret_of
from tests.support.sinks import Corner

KEY = b"a key of the deployment"
DRAFT = EndpointDraft("https://hooks.example.com/quiz?key=hidden")
OTHER = EndpointDraft("https://hooks.example.com/other")
LIMITS = Limits(2)
texts = iter(range(1_000))


def random_text(size: int) -> str:
    return f"{next(texts)}".rjust(size, "x")


def made(corner: Corner, tenant: str = "acme", draft: EndpointDraft = DRAFT) -> tuple[str, str]:
    found = make_endpoint(corner.connection, "ana", tenant, draft, LIMITS, KEY, random_text)
    return found.endpoint.endpoint_id, found.secret


def test_the_kinds_are_the_states_in_which_no_sender_acts_any_more() -> None:
    assert tuple(f"delivery.{state}" for state in DeliveryState if state not in OPEN) == KINDS


def test_a_secret_is_in_no_column_and_follows_from_the_key(corner: Corner) -> None:
    endpoint_id, secret = made(corner)
    ((salt, whole),) = corner.rows("SELECT salt, e::text FROM webhook_endpoints AS e")
    assert isinstance(salt, bytes)
    assert secret.startswith("whsec_")
    assert secret.removeprefix("whsec_") not in str(whole)
    assert secret_of(KEY, endpoint_id, salt) == secret
    assert len({secret, secret_of(b"other", endpoint_id, salt), secret_of(KEY, "whe_2", salt)}) == 3


def test_an_endpoint_is_made_changed_disabled_and_deleted(corner: Corner) -> None:
    endpoint_id, _ = made(corner)
    own = (corner.connection, "ana", "acme", endpoint_id)
    found = find_endpoint(corner.connection, "acme", endpoint_id)
    assert (found.kinds, found.state) == ([*KINDS], "active")
    wanted = EndpointChange("https://hooks.example.com/", ["delivery.read"], "read ones", enabled=False)
    changed = change_endpoint(*own, wanted, LIMITS)
    assert (changed.kinds, changed.state, changed.state_reason) == (
        *(["delivery.read"], "disabled"),
        "by the tenant",
    )
    assert change_endpoint(*own, wanted, LIMITS) == changed
    delete_endpoint(*own)
    with pytest.raises(UnknownEndpoint):
        find_endpoint(corner.connection, "acme", endpoint_id)
    log = entries(corner.connection, limit=10, subject=endpoint_id).items
    assert [entry.action for entry in log] == ["webhook.delete", "webhook.change", "webhook.create"]
    assert "hidden" not in str(log), "an URL may hold a secret"


def test_a_tenant_has_at_most_so_many(corner: Corner) -> None:
    made(corner)
    made(corner, draft=OTHER)
    made(corner, "umbrella")
    with pytest.raises(EndpointRejected, match="2 endpoints"):
        made(corner, draft=EndpointDraft("https://hooks.example.com/third"))
    assert len(list_endpoints(corner.connection, "acme", limit=10).items) == 2


def test_a_change_keeps_what_it_leaves_out(corner: Corner) -> None:
    draft = EndpointDraft("https://hooks.example.com/", ["delivery.read"], "read ones", enabled=False)
    endpoint_id, _ = made(corner, draft=draft)
    own = (corner.connection, "ana", "acme", endpoint_id)
    corner.connection.execute("UPDATE webhook_endpoints SET state_reason = 'answered 410'")
    before = find_endpoint(corner.connection, "acme", endpoint_id)
    assert change_endpoint(*own, EndpointChange(), LIMITS) == before
    described = change_endpoint(*own, EndpointChange(description="ones"), LIMITS)
    assert described == before._replace(description="ones")
    enabled = change_endpoint(*own, EndpointChange(enabled=True), LIMITS)
    assert enabled == described._replace(state="active", state_reason="")
    assert change_endpoint(*own, EndpointChange(kinds=[]), LIMITS) == enabled._replace(kinds=[*KINDS])


def test_failures_at_another_url_do_not_count(corner: Corner) -> None:
    endpoint_id, _ = made(corner)
    own = (corner.connection, "ana", "acme", endpoint_id)
    corner.connection.execute("UPDATE webhook_endpoints SET failing_since = now()")
    assert change_endpoint(*own, EndpointChange(description="x"), LIMITS).failing_since is not None
    assert change_endpoint(*own, EndpointChange(OTHER.url), LIMITS).failing_since is None


def test_two_endpoints_of_a_tenant_do_not_share_an_url(corner: Corner) -> None:
    first, _ = made(corner)
    second, _ = made(corner, draft=OTHER)
    made(corner, "umbrella")
    corner.connection.execute("DELETE FROM webhook_endpoints WHERE endpoint_id = %s", [second])
    with pytest.raises(EndpointRejected, match=f"{first} has this URL"):
        made(corner)
    third, _ = made(corner, draft=OTHER)
    with pytest.raises(EndpointRejected, match=f"{first} has this URL"):
        change_endpoint(corner.connection, "ana", "acme", third, EndpointChange(DRAFT.url), LIMITS)


def test_after_a_rotation_the_secret_before_is_in_force_for_the_overlap(corner: Corner) -> None:
    endpoint_id, first = made(corner)
    own = (corner.connection, "ana", "acme", endpoint_id)
    second = rotate_secret(*own, overlap_s=60, key=KEY, random_text=random_text)
    assert second != first
    assert find_endpoint(corner.connection, "acme", endpoint_id).previous_secret_until is not None
    rotate_secret(*own, overlap_s=0, key=KEY, random_text=random_text)
    assert find_endpoint(corner.connection, "acme", endpoint_id).previous_secret_until is None
    with pytest.raises(EndpointRejected):
        rotate_secret(*own, overlap_s=-1, key=KEY, random_text=random_text)


def test_an_operator_pauses_and_releases(corner: Corner) -> None:
    endpoint_id, _ = made(corner)
    assert hold_endpoint(corner.connection, "ops", endpoint_id, "floods")
    assert not hold_endpoint(corner.connection, "ops", endpoint_id, "floods")
    assert find_endpoint(corner.connection, "acme", endpoint_id).held_reason == "floods"
    with pytest.raises(EndpointHeld):
        delete_endpoint(corner.connection, "ana", "acme", endpoint_id)
    assert hold_endpoint(corner.connection, "ops", endpoint_id, "")
    with pytest.raises(UnknownEndpoint):
        hold_endpoint(corner.connection, "ops", "whe_none", "floods")


def test_another_tenants_endpoint_and_message_are_unknown(corner: Corner) -> None:
    endpoint_id, _ = made(corner)
    corner.connection.execute(
        "INSERT INTO webhook_messages (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind,"
        " content, state) VALUES"
        " ('msg_1', 'acme', %s, gen_random_uuid(), 1, 'delivery.sent', '{}', 'failed')",
        [endpoint_id],
    )
    theirs = (corner.connection, "eve", "umbrella", endpoint_id)
    with pytest.raises(UnknownEndpoint):
        change_endpoint(*theirs, EndpointChange(), LIMITS)
    with pytest.raises(UnknownEndpoint):
        rotate_secret(*theirs, overlap_s=0, key=KEY, random_text=random_text)
    with pytest.raises(UnknownEndpoint):
        delete_endpoint(*theirs)
    with pytest.raises(UnknownMessage):
        redeliver(corner.connection, "eve", "umbrella", "msg_1")
    assert list_messages(corner.connection, "umbrella", limit=10).items == []


def test_an_ended_message_is_sent_again_under_its_id(corner: Corner) -> None:
    endpoint_id, _ = made(corner)
    corner.connection.execute(
        "INSERT INTO webhook_messages (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind,"
        " content, state, attempts) VALUES"
        " ('msg_1', 'acme', %s, gen_random_uuid(), 1, 'delivery.sent', '{}', 'failed', 9)",
        [endpoint_id],
    )
    assert redeliver(corner.connection, "ana", "acme", "msg_1")
    assert not redeliver(corner.connection, "ana", "acme", "msg_1")
    (message,) = list_messages(corner.connection, "acme", limit=10, endpoint_id=endpoint_id).items
    assert (message.state, message.attempts) == ("pending", 0)
    delete_endpoint(corner.connection, "ana", "acme", endpoint_id)
    corner.connection.execute("UPDATE webhook_messages SET state = 'failed'")
    with pytest.raises(UnknownMessage):
        redeliver(corner.connection, "ana", "acme", "msg_1")

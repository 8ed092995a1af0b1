"""A tenant's backlog has a bound: beyond it its own oldest messages fail, and nothing of other tenants."""

from __future__ import annotations

import threading

import msgspec
import pytest

from sinks.outbound import metrics
from sinks.outbound.maintenance import Waiting, surplus
from sinks.postgres.catalogue.webhooks.endpoints import delete_endpoint, find_endpoint
from sinks.postgres.catalogue.webhooks.messages import list_messages
from tests.sinks.outbound.conftest import Hooks, event
from tests.support.sinks import until

OWN = [Waiting("a", "acme", 50), Waiting("b", "acme", 30), Waiting("c", "acme", 5), Waiting("d", "other", 80)]


@pytest.mark.parametrize(
    ("of_tenant_max", "expected"),
    [
        (100, {}),
        (85, {}),
        (75, {"a": 10}),
        (65, {"a": 20}),
        (45, {"a": 30, "b": 10, "d": 35}),
        (9, {"a": 47, "b": 27, "c": 2, "d": 71}),
    ],
)
def test_the_largest_backlogs_are_cut_to_one_size(of_tenant_max: int, expected: dict[str, int]) -> None:
    found = surplus(OWN, of_tenant_max)
    found = found if "d" in expected else {one: rows for one, rows in found.items() if one != "d"}
    assert found == expected


def test_beyond_the_bound_the_oldest_of_the_dead_endpoint_are_given_up(hooks: Hooks) -> None:
    dead, _ = hooks.endpoint("http://127.0.0.1:9/", kinds=["delivery.sent"])
    well, _ = hooks.endpoint(hooks.receiver().url, kinds=["delivery.read"])
    other, _ = hooks.endpoint("http://127.0.0.1:9/", "umbrella")
    connection = hooks.corner.connection
    hooks.write(*(event(n) for n in range(30)))
    connection.execute("UPDATE webhook_messages SET queued_at = queued_at - interval '1 h'")
    hooks.write(*(event(n) for n in range(30, 40)), *(event(n, "read", 5) for n in range(40, 45)))
    hooks.write(*(event(n, tenant="umbrella") for n in range(20)))
    (flying,) = hooks.queue().claim({dead: 1}, 60.0)
    maintenance = hooks.maintenance(msgspec.structs.replace(hooks.limits, pending_of_tenant_max=20))
    ended = metrics.ENDED.labels("given_up")._value.get()
    while maintenance.give_up():
        pass
    assert hooks.states(dead) == [("failed", 25), ("pending", 15)]
    assert hooks.states(well) == [("pending", 5)]
    assert hooks.states(other) == [("pending", 20)]
    assert metrics.ENDED.labels("given_up")._value.get() - ended == 25
    assert metrics.WAITING_OF_TENANT._value.get() == 45
    page = list_messages(connection, "acme", limit=100, state="failed").items
    assert {one.last_error for one in page} == {"given up: more than 20 messages waited"}
    assert flying.message_id not in {one.message_id for one in page}
    found = find_endpoint(connection, "acme", dead)
    assert (found.given_up, found.given_up_at is not None) == (25, True)
    assert find_endpoint(connection, "acme", well).given_up == 0


def test_messages_of_a_deleted_endpoint_are_under_the_bound_too(hooks: Hooks) -> None:
    deleted, _ = hooks.endpoint("http://127.0.0.1:9/")
    hooks.write(*(event(n) for n in range(30)))
    delete_endpoint(hooks.corner.connection, "ana", "acme", deleted)
    hooks.maintenance(msgspec.structs.replace(hooks.limits, pending_of_tenant_max=10)).give_up()
    assert hooks.states(deleted) == [("failed", 20), ("pending", 10)]


def test_the_bound_holds_while_a_tenant_floods_and_another_is_served(hooks: Hooks) -> None:
    held = threading.Event()
    slow = hooks.receiver(lambda _: 204 if held.wait(60) else 500)
    quick = hooks.receiver()
    late, _ = hooks.endpoint(slow.url, "late")
    well, _ = hooks.endpoint(quick.url, "well")
    hooks.write(*(event(n, tenant="late") for n in range(300)), *(event(n, tenant="well") for n in range(50)))
    with hooks.sending(call_timeout_s=50.0, lease_s=60.0, pending_of_tenant_max=100):
        hooks.all_ended(well)
        until(lambda: ("pending", 100) in hooks.states(late), "the bound")
        held.set()
        until(lambda: ("delivered", 100) in hooks.states(late), "the rest")
    assert len(quick.got) == 50
    assert hooks.states(late) == [("delivered", 100), ("failed", 200)]


def test_how_long_an_endpoint_fails_is_shown(hooks: Hooks) -> None:
    hooks.endpoint("http://127.0.0.1:9/")
    hooks.corner.connection.execute("UPDATE webhook_endpoints SET failing_since = now() - interval '2 h'")
    maintenance = hooks.maintenance(hooks.limits)
    maintenance.show()
    assert 7_200 <= metrics.FAILING_S._value.get() < 7_300
    hooks.corner.connection.execute("UPDATE webhook_endpoints SET state = 'disabled'")
    maintenance.show()
    assert metrics.FAILING_S._value.get() == 0


@pytest.mark.parametrize("waits", ["for its call", "for its retry", "of an endpoint that is paused"])
def test_late_is_what_is_due_and_has_no_reason_to_wait(hooks: Hooks, waits: str) -> None:
    hooks.endpoint(hooks.receiver().url)
    hooks.write(event(1))
    connection = hooks.corner.connection
    connection.execute("UPDATE webhook_messages SET due_at = now() - interval '10 min'")
    if waits == "for its retry":
        connection.execute("UPDATE webhook_endpoints SET failing_since = now()")
    elif waits == "of an endpoint that is paused":
        connection.execute("UPDATE webhook_endpoints SET held_reason = 'floods'")
    hooks.maintenance(hooks.limits).show()
    late_s = metrics.LATE_S._value.get()
    assert late_s >= 600 if waits == "for its call" else late_s == 0

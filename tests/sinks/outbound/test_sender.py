"""Events reach the endpoints of their tenant, signed, in order and at least once."""

from __future__ import annotations

import threading

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from sinks.outbound.queue import Claimed, Delivered, DueEndpoint, Failed, Result
from sinks.postgres.audit_log import entries
from sinks.postgres.catalogue.webhooks.endpoints import (
    EndpointChange,
    Limits,
    change_endpoint,
    delete_endpoint,
    find_endpoint,
    hold_endpoint,
    rotate_secret,
)
from sinks.postgres.catalogue.webhooks.messages import list_messages, redeliver
from sinks.postgres.catalogue.webhooks.targets import networks
from tests.sinks.outbound.conftest import DEVELOPMENT, KEY, Hooks, event
from tests.support.sinks import until
from tests.support.webhook_receiver import Received

LIMITS = Limits(20, networks(DEVELOPMENT))


def test_an_endpoint_receives_its_tenants_events_signed(hooks: Hooks) -> None:
    own, theirs = hooks.receiver(), hooks.receiver()
    endpoint, secret = hooks.endpoint(own.url)
    other, _ = hooks.endpoint(theirs.url, "umbrella")
    hooks.write(event(1), event(2, tenant="umbrella"), event(3, "leased"), event(4, tenant="nobody"))
    with hooks.sending():
        hooks.all_ended(endpoint)
        hooks.all_ended(other)
    (received,) = own.got
    verified = Webhook(secret).verify(received.body, received.headers)
    assert verified == received.content
    assert received.content["type"] == "delivery.sent"
    assert received.content["data"] == {
        "delivery_id": event(1).delivery_id,
        "campaign_id": "acme-club",
        "contact_id": "c1",
        "completion_id": event(1).completion_id,
        "sequence": 4,
        "state": "sent",
        "reason": "",
        "attempts": 1,
        "number_id": "5511",
    }
    assert b"wamid" not in received.body, "a provider's id may hold the phone number"
    assert [one.content["data"]["contact_id"] for one in theirs.got] == ["c2"]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(theirs.got[0].body, theirs.got[0].headers)


def test_an_event_that_is_read_again_is_not_sent_again(hooks: Hooks) -> None:
    receiver = hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(event(1))
    with hooks.sending():
        hooks.all_ended(endpoint)
        hooks.write(event(1), event(2))
        until(lambda: len(receiver.got) == 2, "the second event")
        hooks.all_ended(endpoint)
    assert [one.content["data"]["contact_id"] for one in receiver.got] == ["c1", "c2"]


def test_events_from_before_an_endpoint_and_of_other_kinds_are_not_sent(hooks: Hooks) -> None:
    receiver = hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url, kinds=["delivery.read"])
    hooks.corner.connection.execute("UPDATE webhook_endpoints SET created_at = '2200-01-01'")
    hooks.write(event(1, "read"))
    hooks.corner.connection.execute("UPDATE webhook_endpoints SET created_at = now()")
    hooks.write(event(2, "sent"), event(3, "read"))
    with hooks.sending():
        hooks.all_ended(endpoint)
    assert [one.content["data"]["contact_id"] for one in receiver.got] == ["c3"]


def test_a_dead_and_a_slow_endpoint_delay_no_other(hooks: Hooks) -> None:
    """The slow one has all its calls in flight meanwhile, and the dead one its back-off."""
    held = threading.Event()
    slow = hooks.receiver(lambda _: 204 if held.wait(60) else 500)
    quick = hooks.receiver()
    dead, _ = hooks.endpoint("http://127.0.0.1:9/")
    late, _ = hooks.endpoint(slow.url, "late")
    well, _ = hooks.endpoint(quick.url, "well")
    hooks.write(*(event(n, tenant=tenant) for tenant in ("acme", "late", "well") for n in range(50)))
    with hooks.sending(call_timeout_s=50.0, lease_s=60.0):
        hooks.all_ended(well)
        assert 1 <= len(slow.got) <= hooks.limits.in_flight_max
        assert hooks.states(late) == [("pending", 50)]
        held.set()
        hooks.all_ended(late)
        assert ("delivered", 50) not in hooks.states(dead)
    assert sorted(slow.ids()) == sorted({*slow.ids()})


def test_many_slow_endpoints_of_a_tenant_delay_no_other_tenant(hooks: Hooks) -> None:
    """Their calls would take every place of the process."""
    held = threading.Event()
    slow = hooks.receiver(lambda _: 204 if held.wait(60) else 500)
    quick = hooks.receiver()
    late = [hooks.endpoint(f"{slow.url}/{n}", "late")[0] for n in range(4)]
    well, _ = hooks.endpoint(quick.url, "well")
    hooks.write(*(event(n, tenant=tenant) for tenant in ("late", "well") for n in range(20)))
    limits = {"in_flight_total_max": 8, "in_flight_of_tenant_max": 6}
    with hooks.sending(call_timeout_s=50.0, lease_s=60.0, **limits):
        hooks.all_ended(well)
        until(lambda: len(slow.got) >= 6, "its share")
        assert len(slow.got) == 6
        held.set()
        for endpoint in late:
            hooks.all_ended(endpoint)


def test_the_events_of_a_delivery_arrive_in_order_and_others_do_not_wait(hooks: Hooks) -> None:
    refused = [2]

    def answer(received: Received) -> int:
        data = received.content["data"]
        if (data["contact_id"], data["state"]) == ("c1", "sent") and refused[0]:
            refused[0] -= 1
            return 500
        return 204

    receiver = hooks.receiver(answer)
    endpoint, _ = hooks.endpoint(receiver.url)
    states = ("sent", "delivered", "read")
    hooks.write(*(event(n, state, 4 + place) for place, state in enumerate(states) for n in (1, 2)))
    with hooks.sending():
        hooks.all_ended(endpoint)
    seen = [(one.content["data"]["contact_id"], one.content["data"]["state"]) for one in receiver.got]
    assert [state for contact, state in seen if contact == "c1"] == ["sent", "sent", *states]
    assert [state for contact, state in seen if contact == "c2"] == [*states]


def test_a_message_is_retried_under_its_id_and_fails_in_the_end(hooks: Hooks) -> None:
    receiver = hooks.receiver(lambda _: 500)
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(event(1))
    with hooks.sending():
        hooks.all_ended(endpoint, "failed")
    assert len(receiver.got) == 1 + len(hooks.limits.retry_after_s)
    assert len({*receiver.ids()}) == 1
    (message,) = list_messages(hooks.corner.connection, "acme", limit=10).items
    assert (message.attempts, message.last_error) == (4, "answered 500")
    assert find_endpoint(hooks.corner.connection, "acme", endpoint).failing_since is not None

    receiver.answer = lambda _: 200
    assert redeliver(hooks.corner.connection, "ana", "acme", message.message_id)
    with hooks.sending():
        hooks.all_ended(endpoint)
    assert len({*receiver.ids()}) == 1, "a receiver that has it can drop it"
    assert find_endpoint(hooks.corner.connection, "acme", endpoint).failing_since is None


def test_an_endpoint_that_is_gone_is_disabled_until_its_tenant_enables_it(hooks: Hooks) -> None:
    receiver = hooks.receiver(lambda _: 410)
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(event(1))
    with hooks.sending():
        hooks.all_ended(endpoint, "failed")
        found = find_endpoint(hooks.corner.connection, "acme", endpoint)
        assert (found.state, found.state_reason) == ("disabled", "answered 410")
        hooks.write(event(2))
        assert hooks.states(endpoint) == [("failed", 1)], "a disabled one receives nothing"
        log = entries(hooks.corner.connection, limit=1, subject=endpoint).items
        assert (log[0].actor, log[0].action) == ("webhook-sender", "webhook.disable")

        receiver.answer = lambda _: 204
        enabled = EndpointChange(enabled=True)
        change_endpoint(hooks.corner.connection, "ana", "acme", endpoint, enabled, LIMITS)
        hooks.write(event(3))
        until(lambda: ("delivered", 1) in hooks.states(endpoint), "the third event")
    assert [one.content["data"]["contact_id"] for one in receiver.got] == ["c1", "c3"]


def test_an_endpoint_that_fails_for_days_is_disabled(hooks: Hooks) -> None:
    receiver = hooks.receiver(lambda _: 500)
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.corner.connection.execute("UPDATE webhook_endpoints SET failing_since = now() - interval '121 h'")
    hooks.write(event(1))
    with hooks.sending():
        until(
            lambda: find_endpoint(hooks.corner.connection, "acme", endpoint).state_reason == "failing",
            "the endpoint to be disabled",
        )


def test_after_many_failures_an_endpoint_has_one_call_now_and_then(hooks: Hooks) -> None:
    receiver = hooks.receiver(lambda _: 500)
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(*(event(n) for n in range(100)))
    well = hooks.receiver()
    other, _ = hooks.endpoint(well.url, "umbrella")
    with hooks.sending():
        until(lambda: len(receiver.got) >= hooks.limits.circuit.failures, "failures")
        hooks.write(*(event(n, tenant="umbrella") for n in range(50)))
        hooks.all_ended(other)
    in_flight = hooks.limits.in_flight_max
    assert len(receiver.got) <= hooks.limits.circuit.failures + in_flight
    assert ("pending", 100) in hooks.states(endpoint)


def test_during_a_rotation_both_secrets_sign(hooks: Hooks) -> None:
    receiver = hooks.receiver()
    endpoint, first = hooks.endpoint(receiver.url)
    own = (hooks.corner.connection, "ana", "acme", endpoint)
    second = rotate_secret(*own, overlap_s=3600, key=KEY, random_text=lambda size: "s" * size)
    hooks.write(event(1))
    with hooks.sending():
        hooks.all_ended(endpoint)
        third = rotate_secret(*own, overlap_s=0, key=KEY, random_text=lambda size: "t" * size)
        hooks.write(event(2))
        until(lambda: len(receiver.got) == 2, "the second event")
    during, after = receiver.got
    for secret in (first, second):
        Webhook(secret).verify(during.body, during.headers)
    Webhook(third).verify(after.body, after.headers)
    for secret in (first, second):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(after.body, after.headers)


def test_while_an_operator_holds_an_endpoint_its_messages_wait(hooks: Hooks) -> None:
    receiver, marker = hooks.receiver(), hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url)
    other, _ = hooks.endpoint(marker.url, "umbrella")
    hold_endpoint(hooks.corner.connection, "ops", endpoint, "floods")
    hooks.write(event(1), event(2, tenant="umbrella"))
    with hooks.sending():
        hooks.all_ended(other)
        assert receiver.got == []
        hold_endpoint(hooks.corner.connection, "ops", endpoint, "")
        hooks.all_ended(endpoint)


def test_what_waits_too_long_has_failed_and_a_deleted_endpoint_receives_nothing(hooks: Hooks) -> None:
    receiver = hooks.receiver()
    deleted, _ = hooks.endpoint(receiver.url)
    hooks.write(event(1))
    delete_endpoint(hooks.corner.connection, "ana", "acme", deleted)
    hooks.corner.connection.execute("UPDATE webhook_messages SET queued_at = now() - interval '97 h'")
    with hooks.sending():
        hooks.all_ended(deleted, "failed")
    (message,) = list_messages(hooks.corner.connection, "acme", limit=10).items
    assert message.last_error == "expired"
    assert receiver.got == []


def test_what_is_in_flight_does_not_expire(hooks: Hooks) -> None:
    endpoint, _ = hooks.endpoint(hooks.receiver().url)
    hooks.write(event(1))
    queue, maintenance = hooks.queue(), hooks.maintenance(hooks.limits)
    (claimed,) = queue.claim({endpoint: 1}, 60.0)
    hooks.corner.connection.execute("UPDATE webhook_messages SET queued_at = now() - interval '97 h'")
    maintenance.expire()
    queue.settle([Delivered(claimed)])
    assert hooks.states(endpoint) == [("delivered", 1)]

    hooks.write(event(2))
    assert len(queue.claim({endpoint: 1}, 0.0)) == 1  # of a process that is lost
    hooks.corner.connection.execute("UPDATE webhook_messages SET queued_at = now() - interval '97 h'")
    maintenance.expire()
    assert hooks.states(endpoint) == [("delivered", 1), ("failed", 1)]
    queue.disconnect()


@pytest.mark.parametrize("ended", ["delivered", "failed", "gone"])
def test_after_a_lost_lease_a_result_says_nothing_of_its_endpoint(hooks: Hooks, ended: str) -> None:
    url = hooks.receiver().url
    endpoint, _ = hooks.endpoint(url)
    hooks.write(event(1))
    queue = hooks.queue()
    (lost,) = queue.claim({endpoint: 1}, 0.0)
    (claimed,) = queue.claim({endpoint: 1}, 60.0)
    since = "now()" if ended == "delivered" else "NULL"
    hooks.corner.connection.execute(f"UPDATE webhook_endpoints SET failing_since = {since}")
    before = find_endpoint(hooks.corner.connection, "acme", endpoint)
    late: dict[str, Result] = {
        "delivered": Delivered(lost),
        "failed": Failed(lost, "no answer in time", 5.0),
        "gone": Failed(lost, "answered 410", None, gone_url=url),
    }
    queue.settle([late[ended]])
    assert find_endpoint(hooks.corner.connection, "acme", endpoint) == before
    assert hooks.states(endpoint) == [("pending", 1)]
    queue.settle([Delivered(claimed)])
    assert hooks.states(endpoint) == [("delivered", 1)]
    queue.disconnect()


def test_an_unexpected_error_is_an_attempt_and_waits_for_its_retry(hooks: Hooks) -> None:
    receiver = hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url)
    with hooks.sending() as sender:
        signed = sender._signed
        left = [2]

        def fails_twice(endpoint: DueEndpoint, message: Claimed) -> dict[str, str]:
            if left[0]:
                left[0] -= 1
                raise RuntimeError("an error in the sender")
            return signed(endpoint, message)

        sender._signed = fails_twice  # type: ignore[method-assign]
        hooks.write(event(1))
        until(lambda: len(receiver.got) == 1, "the event")
        hooks.all_ended(endpoint)
    assert hooks.corner.rows("SELECT attempts FROM webhook_messages") == [(3,)]


@pytest.mark.parametrize("sends", ["to the sender", "of another process"])
def test_a_message_whose_process_was_lost_is_sent_again_after_its_lease(hooks: Hooks, sends: str) -> None:
    receiver = hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(event(1))
    ends = "clock_timestamp() + interval '1 h'" if sends == "of another process" else "clock_timestamp()"
    hooks.corner.connection.execute(f"UPDATE webhook_messages SET lease = gen_random_uuid(), due_at = {ends}")
    with hooks.sending():
        if sends == "of another process":
            assert hooks.states(endpoint) == [("pending", 1)]
            hooks.corner.connection.execute("UPDATE webhook_messages SET due_at = clock_timestamp()")
        hooks.all_ended(endpoint)
    assert len(receiver.got) == 1


def test_a_stop_ends_calls_and_they_are_due_at_once(hooks: Hooks) -> None:
    held = threading.Event()
    receiver = hooks.receiver(lambda _: 204 if held.wait(60) else 500)
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(event(1))
    with hooks.sending(call_timeout_s=50.0, lease_s=3600.0):
        until(lambda: len(receiver.got) == 1, "the call")
    ((state, attempts, lease),) = hooks.corner.rows("SELECT state, attempts, lease FROM webhook_messages")
    assert (state, attempts, lease) == ("pending", 0, None)
    held.set()
    with hooks.sending():
        hooks.all_ended(endpoint)
    assert len({*receiver.ids()}) == 1

"""A restored copy of the database sends no webhooks before its guard has granted the permit."""

from __future__ import annotations

import pytest

from sinks.outbound import metrics
from tests.sinks.outbound.conftest import Hooks, event
from tests.support.sinks import until

PERMITS = {
    "of another server": "clock_timestamp() + interval '1 h', 'another server'",
    "not renewed": "clock_timestamp() - interval '1 s', ledger_incarnation()",
    "withdrawn": "'-infinity', ''",
}


def grant(hooks: Hooks, permit: str) -> None:
    hooks.corner.connection.execute(
        "INSERT INTO sending_permit (granted_until, incarnation) VALUES"
        f" ({permit}) ON CONFLICT (only_row) DO UPDATE"
        " SET granted_until = excluded.granted_until, incarnation = excluded.incarnation"
    )


@pytest.mark.parametrize("permit", PERMITS)
def test_without_a_permit_of_this_database_nothing_is_sent(hooks: Hooks, permit: str) -> None:
    receiver = hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.write(*(event(n) for n in range(20)))
    grant(hooks, PERMITS[permit])
    metrics.PERMITTED.set(1)
    with hooks.sending():
        until(lambda: metrics.PERMITTED._value.get() == 0, "the sender to show that it may not send")
        assert hooks.states(endpoint) == [("pending", 20)]
        assert receiver.got == []
        grant(hooks, "clock_timestamp() + interval '1 h', ledger_incarnation()")
        hooks.all_ended(endpoint)
    assert len({*receiver.ids()}) == 20


def test_a_permit_that_ends_between_the_look_and_the_claim_leases_nothing(hooks: Hooks) -> None:
    endpoint, _ = hooks.endpoint(hooks.receiver().url)
    hooks.write(event(1))
    queue = hooks.queue()
    assert [one.endpoint_id for one in queue.due()] == [endpoint]
    grant(hooks, PERMITS["withdrawn"])
    assert queue.claim({endpoint: 1}, 60.0) == []
    assert queue.due() == []
    queue.disconnect()

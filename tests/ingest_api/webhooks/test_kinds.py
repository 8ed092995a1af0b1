"""The edge acknowledges an example of every kind of webhook, and keeps it byte for byte."""

from __future__ import annotations

from schemas.codec import codec
from tests.support import webhook_bodies
from tests.support.edge import Edge, records_of


def test_every_kind_is_acknowledged_and_kept(edge: Edge) -> None:
    bodies = {one.name: one.body for one in webhook_bodies.examples()}
    assert len(bodies) > 70

    assert {name: edge.webhook(body).status for name, body in bodies.items()} == dict.fromkeys(bodies, 200)

    topic = edge.topology.topic("provider_webhooks")
    kept = {
        codec("provider_webhook").decode(value).personal.body for _, value in records_of(edge.settings, topic)
    }
    assert set(bodies.values()) <= kept

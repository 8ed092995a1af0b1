from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pipeline.runtime.backoff import Backoff
from pipeline.topology.file import Webhooks
from schemas.records import DeliveryEvent
from sinks.outbound.maintenance import Maintenance
from sinks.outbound.messages import WebhookMessages
from sinks.outbound.queue import Queue
from sinks.outbound.sender import Sender
from sinks.postgres.catalogue.webhooks.endpoints import EndpointDraft, Limits, make_endpoint
from sinks.postgres.catalogue.webhooks.targets import networks
from sinks.postgres.connect import connect
from tests.support.sinks import Corner, until
from tests.support.webhook_receiver import Receiver

KEY = b"a key of the deployment"
DEVELOPMENT = ("127.0.0.0/8",)
AT_MS = 4_000_000_000_000  # after the creation of every endpoint


def delivery(number: int) -> str:
    return str(UUID(int=number))


def event(number: int, state: str = "sent", sequence: int = 4, tenant: str = "acme") -> DeliveryEvent:
    return DeliveryEvent(
        delivery_id=delivery(number),
        tenant_id=tenant,
        campaign_id=f"{tenant}-club",
        contact_id=f"c{number}",
        completion_id=delivery(number + 1_000_000),
        sequence=sequence,
        state=state,
        at=AT_MS,
        provider_message_id="wamid.of-a-phone",
        attempts=1,
        number_id="5511",
    )


@dataclass
class Hooks:
    """Endpoints, their messages, and senders in threads."""

    corner: Corner
    limits: Webhooks
    receivers: list[Receiver] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def receiver(self, answer: Callable[[Any], int] = lambda _: 204, location: str = "") -> Receiver:
        self.receivers.append(Receiver(answer, location))
        return self.receivers[-1]

    def endpoint(self, url: str, tenant: str = "acme", kinds: Sequence[str] = ()) -> tuple[str, str]:
        """Its id and secret."""
        made = make_endpoint(
            self.corner.connection,
            "test",
            tenant,
            EndpointDraft(url, [*kinds]),
            Limits(20, networks(self.limits.development_networks)),
            KEY,
            secrets.token_urlsafe,
        )
        return made.endpoint.endpoint_id, made.secret

    def write(self, *events: DeliveryEvent) -> None:
        self.corner.write(WebhookMessages(), events)

    def states(self, endpoint_id: str) -> list[tuple[object, ...]]:
        return self.corner.rows(
            "SELECT state, count(*) FROM webhook_messages WHERE endpoint_id = %s GROUP BY 1 ORDER BY 1",
            endpoint_id,
        )

    def all_ended(self, endpoint_id: str, state: str = "delivered") -> None:
        def ended() -> bool:
            assert self.failures == []
            return {one for one, _ in self.states(endpoint_id)} == {state}

        until(ended, f"{endpoint_id}: all {state}")

    def queue(self) -> Queue:
        return Queue(
            lambda: connect(self.corner.database_url, "webhooks"),
            uuid4,
            disable_failing_h=self.limits.disable_failing_h,
        )

    @contextmanager
    def sending(self, **changes: Any) -> Iterator[Sender]:
        limits = msgspec.structs.replace(self.limits, **changes)
        queue = self.queue()
        backoff = Backoff(first_s=0.02, longest_s=0.1, rng=random.Random(1))
        sender = Sender(limits, KEY, queue, rng=random.Random(1), backoff=backoff)
        maintenance = self.maintenance(limits)
        stop = threading.Event()

        def run(work: Callable[[threading.Event], None]) -> None:
            try:
                work(stop)
            except Exception as error:
                self.failures.append(error)

        threads = [threading.Thread(target=run, args=[work]) for work in (sender.run, maintenance.run)]
        for thread in threads:
            thread.start()
        try:
            yield sender
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive()
        assert self.failures == []

    def maintenance(self, limits: Webhooks) -> Maintenance:
        return Maintenance(lambda: connect(self.corner.database_url, "maintenance"), limits)


@pytest.fixture
def hooks(corner: Corner) -> Iterator[Hooks]:
    own = msgspec.structs.replace(
        corner.topology.webhooks,
        development_networks=DEVELOPMENT,
        poll_ms=20,
        retry_after_s=(0.05, 0.05, 0.05),
        call_timeout_s=2.0,
        lease_s=3.0,
    )
    made = Hooks(corner, own)
    yield made
    for receiver in made.receivers:
        receiver.close()

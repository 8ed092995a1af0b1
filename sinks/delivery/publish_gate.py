"""Deliveries that are leased, and not yet known as leased to Kafka: they are not called yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sinks.delivery.rows import Leased


@dataclass(frozen=True, slots=True)
class _Claim:
    tenant_id: str
    leased: Sequence[Leased]
    event_id: int
    at_s: float


class Unpublished:
    """What a sender has claimed, claim by claim. `clock` is monotonic; a claim is late after `wait_max_s`."""

    def __init__(self, clock: Callable[[], float], wait_max_s: float) -> None:
        self._clock = clock
        self._wait_max_s = wait_max_s
        self._claims: list[_Claim] = []

    def __bool__(self) -> bool:
        return bool(self._claims)

    def count(self, tenant_id: str) -> int:
        """How many of a tenant's deliveries wait here."""
        return sum(len(claim.leased) for claim in self._claims if claim.tenant_id == tenant_id)

    def add(self, tenant_id: str, leased: Sequence[Leased]) -> None:
        if leased:
            event_id = max(delivery.event_id for delivery in leased)
            self._claims.append(_Claim(tenant_id, leased, event_id, self._clock()))

    def take(self, first_unpublished: int | None) -> tuple[list[tuple[str, Sequence[Leased]]], list[Leased]]:
        """What is published, by tenant and in the order of its claims; and what has waited too long."""
        published: list[tuple[str, Sequence[Leased]]] = []
        late: list[Leased] = []
        kept: list[_Claim] = []
        for claim in self._claims:
            if first_unpublished is None or claim.event_id < first_unpublished:
                published.append((claim.tenant_id, claim.leased))
            elif self._clock() - claim.at_s > self._wait_max_s:
                late += claim.leased
            else:
                kept.append(claim)
        self._claims = kept
        return published, late

    def give_up(self) -> list[Leased]:
        """Everything that waits here, which then waits no more."""
        left = [delivery for claim in self._claims for delivery in claim.leased]
        self._claims = []
        return left

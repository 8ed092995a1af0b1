"""Faults of routes: a number that is held for a while, and weights that change under load."""

from __future__ import annotations

import random
import time
from typing import Any

import psycopg

from sinks.delivery import stop_switch
from sinks.delivery.routing.weights import WHOLE_PERCENT, set_weights

ACTOR = "chaos"

Connection = psycopg.Connection[tuple[Any, ...]]

_NUMBERS = "SELECT tenant_id, number_id FROM sender_numbers ORDER BY tenant_id, number_id"
_ROUTED = "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND route = %s"


class NoNumbers(Exception):
    """There is no tenant with two numbers: nothing can move."""


def hold(connection: Connection, duration_s: float, size: float) -> str:
    """Holds a number for so long, then releases it; returns which, and how many waited for it meanwhile."""
    numbers = connection.execute(_NUMBERS).fetchall()
    number_id = str(numbers[int(size * len(numbers)) % len(numbers)][1])
    stop_switch.hold_number(connection, number_id, "a fault run", ACTOR)
    (before,) = connection.execute(_ROUTED, [number_id]).fetchone() or (0,)
    try:
        time.sleep(duration_s)
        (left,) = connection.execute(_ROUTED, [number_id]).fetchone() or (0,)
    finally:
        stop_switch.release_number(connection, number_id, ACTOR)
    return f"number {number_id}: {before} deliveries at the beginning, {left} at the end"


def weigh(connection: Connection, size: float) -> str:
    """Gives a tenant's numbers other weights; returns them."""
    by_tenant: dict[str, list[str]] = {}
    for tenant_id, number_id in connection.execute(_NUMBERS).fetchall():
        by_tenant.setdefault(str(tenant_id), []).append(str(number_id))
    tenants = sorted(tenant for tenant, numbers in by_tenant.items() if len(numbers) > 1)
    if not tenants:
        raise NoNumbers("no tenant has two numbers")
    rng = random.Random(size)
    tenant = rng.choice(tenants)
    cuts = sorted(rng.randint(0, WHOLE_PERCENT) for _ in by_tenant[tenant][1:])
    percents = [end - begin for begin, end in zip([0, *cuts], [*cuts, WHOLE_PERCENT], strict=True)]
    weights = dict(zip(by_tenant[tenant], percents, strict=True))
    set_weights(connection, ACTOR, tenant, weights)
    return f"tenant {tenant}: {' '.join(f'{number}={percent}' for number, percent in weights.items())}"

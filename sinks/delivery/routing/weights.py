"""The operator's weights of numbers: how a tenant's contacts are shared out, for a migration step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sinks.postgres.audit_log import record
from sinks.postgres.catalogue.rejections import Rejection
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("weights.sql"))
WHOLE_PERCENT = 100
# A number's weight of one percent: a provider's percentage is divided among its numbers, as whole weights.
WEIGHT_OF_PERCENT = 1_000


class WeightsRejected(Rejection):
    """The weights cannot be set; the message has the reasons."""


class Weighted(NamedTuple):
    """A number with its share of the contacts."""

    number_id: str
    provider: str
    share_percent: float


class _Number(NamedTuple):
    number_id: str
    provider: str


def parse_shares(tenant_id: str, shares: Sequence[str]) -> dict[str, int]:
    """`NUMBER=PERCENT` each, as on a command line. Raises `WeightsRejected`."""
    percents: dict[str, int] = {}
    problems = []
    for share in shares:
        name, _, percent = share.rpartition("=")
        if not name or not percent.isascii() or not percent.isdecimal():
            problems.append(f'"{share}" is not NUMBER=PERCENT, such as meta-cloud=90')
        elif name in percents:
            problems.append(f"{name} has two weights")
        else:
            percents[name] = int(percent)
    if problems:
        raise WeightsRejected(tenant_id, problems)
    return percents


def set_weights(
    connection: Connection, actor: str, tenant_id: str, percents: Mapping[str, int], channel: str = "whatsapp"
) -> list[Weighted]:
    """Shares the tenant's contacts ('*': of tenants without numbers) among its numbers of a channel.

    - `percents` are by number, or by provider for all of its numbers in equal parts. They add up to 100, and
      every number is named: one with 0 gets no new delivery, and its waiting ones go to the others.
    - In force at once, without a restart: senders route waiting deliveries again. A contact moves only where
      its share does; in steps such as 10, 50 and 100 it moves once at most.
    - Returns the numbers as they are now. Raises `WeightsRejected`.
    """
    with connection.transaction():
        given = {"tenant": tenant_id, "channel": channel}
        numbers = fetch(connection, QUERIES["lock_numbers"], _Number, given)
        weights = _weights(tenant_id, channel, numbers, percents)
        if connection.execute(
            QUERIES["set_weights"], {"numbers": list(weights), "weights": list(weights.values())}
        ).rowcount:
            record(connection, actor, "number.weights", tenant_id, channel=channel, percents=dict(percents))
    return [
        Weighted(one.number_id, one.provider, weights[one.number_id] / WEIGHT_OF_PERCENT) for one in numbers
    ]


def _weights(
    tenant_id: str, channel: str, numbers: Sequence[_Number], percents: Mapping[str, int]
) -> dict[str, int]:
    """The weight of every number. Raises `WeightsRejected` with every problem."""
    of_provider: dict[str, list[str]] = {}
    for number in numbers:
        of_provider.setdefault(number.provider, []).append(number.number_id)
    weights: dict[str, int] = {}
    problems = []
    for name, percent in percents.items():
        found = [name] if any(number.number_id == name for number in numbers) else of_provider.get(name, [])
        if not found:
            problems.append(f'"{name}" is neither a number of it on {channel} nor the provider of one')
        if not 0 <= percent <= WHOLE_PERCENT:
            problems.append(f"{name} must have 0 to {WHOLE_PERCENT} percent")
        for number_id in found:
            if number_id in weights:
                problems.append(f"{number_id} has two weights")
            weights[number_id] = percent * WEIGHT_OF_PERCENT // len(found)
    unnamed = [number.number_id for number in numbers if number.number_id not in weights]
    if unnamed and not problems:
        problems.append(f"it has numbers without a weight: {', '.join(unnamed)} (0 sends nothing from one)")
    if sum(percents.values()) != WHOLE_PERCENT:
        problems.append(f"the weights add up to {sum(percents.values())} percent, not to {WHOLE_PERCENT}")
    if problems:
        raise WeightsRejected(tenant_id, problems)
    return weights

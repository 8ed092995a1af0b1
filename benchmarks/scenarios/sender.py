"""Speed of sending: the sender process, a ledger full of due deliveries, the simulated provider.

By the provider's own record, every delivery was called once, and no sender number was faster than its pace in
any second. The provider sends no webhooks here.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from benchmarks.load.completions import matched
from benchmarks.load.filling import fill
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed, wait_until
from benchmarks.measure.cpu import CpuClock, between
from benchmarks.measure.deployment import Log, prepared, processes
from benchmarks.measure.figures import Spread, spreads
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import SENDER
from benchmarks.plans import Sender
from ops.audit.provider_record import Call, ProviderRecord
from ops.chaos.provider import Provider
from ops.demo.phones import demo_phone
from ops.locate import Deployment
from schemas import ids
from schemas.codec import codec
from schemas.records import Personal
from sinks.postgres.connect import connect

STORED_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.1
STALLED_S = 60.0
SKIPPED_RATIO = 0.2  # of the messages: sent while the process warms up
END_RATIO = 0.9  # towards the end numbers run dry
WINDOW_S = 1.0
# The sink's process publishes the outbox: no delivery is called before Kafka holds its lease.
RUNNING = ("simulator", "postgres-sink", SENDER)
COUNTED = (*RUNNING, "postgres", "kafka")


class Run(NamedTuple):
    messages_per_s: float
    window_max: int
    cpu_us: dict[str, float]


class Result(Measured, frozen=True, kw_only=True):
    """`window_max`: the most messages of any number in any second; `pace_per_s` is the limit."""

    plan: Sender
    pace_per_s: int
    messages: int
    messages_per_s: Spread
    window_max: int
    twice: int
    cpu_us_per_message: dict[str, Spread]


def measure(plan: Sender, log: Log) -> Result:
    """Raises CheckFailed, CannotStart."""
    head = begin("sender")
    runs: list[Run] = []
    with prepared(log, plan.port_base) as found:
        pace = found.topology.sender.messages_per_s
        messages = int(plan.numbers * pace * plan.seconds)
        for turn in range(plan.rounds):
            log(f"round {turn + 1} of {plan.rounds}: {messages:,} messages by {plan.numbers} numbers")
            scene = Scene(secrets.token_hex(3), 100, plan.numbers)
            plant(found, scene)
            fill(found.settings.kafka_bootstrap_servers, _matches(found, scene, messages))
            runs.append(_run(found, scene, messages))
    return Result(
        **head,
        plan=plan,
        pace_per_s=pace,
        messages=messages,
        messages_per_s=Spread.of([run.messages_per_s for run in runs]),
        window_max=max(run.window_max for run in runs),
        twice=0,
        cpu_us_per_message=spreads([run.cpu_us for run in runs]),
    )


def fastest_window(calls: Sequence[float], window_s: float = WINDOW_S) -> int:
    """The most calls in any half-open window of that length; pure."""
    ordered = sorted(calls)
    return max((bisect_left(ordered, at + window_s) - first for first, at in enumerate(ordered)), default=0)


def _matches(found: Deployment, scene: Scene, count: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Records of the topic of deliveries, each due at once."""
    at_ms, encode = int(time.time() * 1000), codec("match").encode
    topic = found.topology.topic("deliveries").name
    of = {
        "tenant_id": scene.tenant_id,
        "campaign_id": scene.campaign_id,
        "quiz_id": scene.questionnaire.quiz_id,
    }
    when = {"campaign_month": ids.campaign_month(at_ms), "day": ids.day_of(at_ms)}
    for number in range(count):
        contact, completion_id = f"{number:032x}", str(UUID(int=number))
        delivery_id = ids.delivery_id(scene.campaign_id, contact)
        personal = Personal(phone=demo_phone(scene.tenant_id, number))
        match = matched(delivery_id, contact, completion_id, at_ms, personal=personal, **of, **when)
        yield topic, ids.match_key(scene.campaign_id, contact), encode(match)


def _until_stored(found: Deployment, scene: Scene, messages: int) -> None:
    query = "SELECT count(*) FROM deliveries WHERE campaign_id = %s"
    with connect(found.settings.database_url, "bench sender") as connection:
        wait_until(
            lambda: connection.execute(query, [scene.campaign_id]).fetchone() == (messages,),
            STORED_TIMEOUT_S,
            lambda: f"{messages:,} deliveries were not stored",
        )


def _run(found: Deployment, scene: Scene, messages: int) -> Run:
    with processes(found, RUNNING, late=[SENDER]) as supervisor:
        Provider(found.settings.simulator_url).behave(webhooks=False)
        record = ProviderRecord(found.settings)
        for _ in record.more():
            continue  # of an earlier round
        calls: list[Call] = []
        _until_stored(found, scene, messages)
        cpu = CpuClock(found)
        supervisor.resume(SENDER)
        _until(record, calls, int(messages * SKIPPED_RATIO))
        first, before = len(calls), cpu.read()
        _until(record, calls, int(messages * END_RATIO))
        last, used = len(calls), between(before, cpu.read())
        _until(record, calls, messages)
        time.sleep(WINDOW_S)
        calls += record.more()
    _check(calls, messages)
    by_number: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        by_number[call.number].append(call.at)
    elapsed_s = calls[last - 1].at - calls[first].at
    return Run(
        (last - first) / elapsed_s,
        max(map(fastest_window, by_number.values())),
        {name: 1e6 * used.get(name, 0.0) / (last - first) for name in COUNTED},
    )


def _until(record: ProviderRecord, calls: list[Call], wanted: int) -> None:
    moved_s = time.monotonic()
    while len(calls) < wanted:
        more = list(record.more())
        calls += more
        if more:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > STALLED_S:
            raise CheckFailed(f"{len(calls):,} of {wanted:,} messages were sent; none in {STALLED_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


def _check(calls: Sequence[Call], messages: int) -> None:
    refused = sum(call.wamid is None for call in calls)
    contacts = len({call.to for call in calls})
    if refused or len(calls) != messages or contacts != messages:
        raise CheckFailed(
            f"{len(calls):,} calls to {contacts:,} contacts for {messages:,} messages, {refused:,} rejected"
        )

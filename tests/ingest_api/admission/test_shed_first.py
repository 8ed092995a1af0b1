"""What is worth less than completions is rejected before them, and takes no place from them."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter
from starlette.types import Message

from ingest_api.admission.concurrency import ConcurrencyLimit, State
from ingest_api.admission.shed_first import RETRY_MAX_S, RETRY_MIN_S, ShedFirst
from ingest_api.http.reply import Receive, Reply, Scope
from ops.embedded.stack import ServerUrls
from pipeline.topology.file import Admission
from tests.support.edge import prepare, running, settings_for, wait_ready
from tests.support.sinks import counted

FOUR_AT_ONCE = Admission(
    delay_max_ms=75, in_work_min=1, in_work_max=4, adjust_ms=100, late_for_ms=1000, calm_for_ms=5000
)
POST: Scope = {"type": "http", "method": "POST"}
VISIT = "0190c2a4-7e3a-7bcd-8f00-123456789abc"


class Held:
    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive) -> Reply:
        await receive()
        await self.let_go.wait()
        return Reply(202, b"{}")


async def body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def shed_first(
    handle: Held, limit: ConcurrencyLimit, chance: float = 0.0
) -> tuple[ShedFirst, CollectorRegistry]:
    registry = CollectorRegistry()
    shed = Counter("shed_total", "Shed.", registry=registry)
    return ShedFirst(handle, limit, 0.5, lambda: chance, shed), registry


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_half_of_the_room_is_kept_for_completions(chance: float) -> None:
    async def story() -> None:
        held, limit = Held(), ConcurrencyLimit(FOUR_AT_ONCE, lambda: 0.0)
        handle, registry = shed_first(held, limit, chance)
        completion = limit.begin()
        assert completion is not None
        one = asyncio.create_task(handle(POST, body))
        await asyncio.sleep(0)
        rejected = await handle(POST, body)
        assert (rejected.status, rejected.problem) == (503, "overloaded")
        assert RETRY_MIN_S <= int(dict(rejected.headers)[b"retry-after"]) <= RETRY_MAX_S
        assert registry.get_sample_value("shed_total") == 1
        assert [limit.begin() is not None for _ in range(4)] == [True, True, True, False]
        held.let_go.set()
        assert (await one).status == 202

    asyncio.run(story())


def test_all_of_it_is_rejected_while_completions_are_shed() -> None:
    async def story() -> None:
        held, limit = Held(), ConcurrencyLimit(FOUR_AT_ONCE, lambda: 0.0)
        held.let_go.set()
        handle, _registry = shed_first(held, limit)
        for _ in range(10):
            limit.adjust(loop_delay_s=1.0)
        assert limit.state is State.SHEDDING
        assert (await handle(POST, body)).status == 503
        assert limit.begin() is not None
        assert (await handle({"type": "http", "method": "OPTIONS"}, body)).status == 202

    asyncio.run(story())


def test_a_client_that_holds_its_body_back_takes_no_place() -> None:
    async def story() -> None:
        held, limit = Held(), ConcurrencyLimit(FOUR_AT_ONCE, lambda: 0.0)
        held.let_go.set()
        handle, _registry = shed_first(held, limit)

        async def never() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        slow = [asyncio.create_task(handle(POST, never)) for _ in range(8)]
        await asyncio.sleep(0)
        assert (await handle(POST, body)).status == 202
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert (await handle(POST, body)).status == 202

    asyncio.run(story())


def test_without_room_for_both_the_completion_is_accepted(stack: ServerUrls, namespace: str) -> None:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    progress = replace(topology.edge.progress, in_work_ratio_max=0.0)
    topology = replace(topology, edge=replace(topology.edge, progress=progress))
    before = counted("quizstream_edge_progress_shed_total")
    with running(settings, topology) as edge:
        wait_ready(edge)
        rejected = edge.report("survey", {"visit_id": VISIT, "kind": "started"})
        assert rejected.problem == "overloaded"
        assert rejected.headers["access-control-allow-origin"] == "*"
        assert edge.submit("survey", {"answers": {}}).status == 202
    assert counted("quizstream_edge_progress_shed_total") == before + 1

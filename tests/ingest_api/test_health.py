"""Live, ready and health: three answers that tell the truth about the start, an outage and the stop."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

from ingest_api.health import Health, Observed, resident_bytes
from ingest_api.http.lifecycle import Lifecycle, Stage
from ops.embedded.stack import ServerUrls
from pipeline.topology.loader import load
from tests.support.edge import Edge, prepare, running, settings_for, wait_ready, wait_until

MEMBERS = {
    "status",
    "reasons",
    "edge",
    "uptime_s",
    "memory",
    "connections",
    "requests",
    "kafka",
    "valkey",
    "postgresql",
    "reference_data",
    "caches",
}


def health(edge: Edge) -> tuple[int, Any]:
    answer = edge.ask("GET", "/health")
    assert answer.headers["cache-control"] == "no-store"
    return answer.status, answer.json


def test_a_ready_edge_shows_what_it_has(stack: ServerUrls, namespace: str) -> None:
    settings = replace(settings_for(stack.kafka_bootstrap, namespace), redis_url=stack.redis_url)
    with running(settings, prepare(settings)) as edge:
        wait_ready(edge)
        for _ in range(3):
            edge.submit("survey", {"answers": {}})
        wait_until(lambda: health(edge)[1]["valkey"]["reached"], "Valkey")
        status, shown = health(edge)
        assert status == 200
        assert set(shown) == MEMBERS
        assert (shown["status"], shown["reasons"], shown["edge"]) == ("ready", [], None)
        assert shown["uptime_s"] >= 0
        assert 10_000_000 < shown["memory"]["resident_bytes"] < 10_000_000_000
        assert 1 <= shown["connections"]["open"] <= shown["connections"]["max"]
        assert shown["requests"] == {"waiting_for_kafka": 0, "max": edge.topology.edge.in_flight_max}
        assert shown["kafka"]["breaker"] == "closed"
        assert shown["kafka"]["reached_s_ago"] >= 0
        assert shown["valkey"]["edges"] >= 1
        assert shown["postgresql"] == {"breaker": "closed"}
        assert edge.ask("GET", "/quiz/no-such-quiz").status in (404, 503)
        pages = health(edge)[1]["caches"]["quiz_pages"]
        assert pages["hits"] + pages["misses"] >= 0
        assert set(shown["reference_data"]) == {"quizzes", "tokens", "tenants", "webhook_keys"}
        for state in shown["reference_data"].values():
            assert state["read"]
            assert state["changed_s_ago"] >= 0
        addresses = shown["caches"]["addresses"]
        assert addresses["hits"] > 0
        assert 0 < addresses["hit_ratio"] < 1
        documented = edge.ask("GET", "/openapi.json").json["paths"]["/health"]["get"]["responses"]["200"]
        assert set(documented["content"]["application/json"]["schema"]["properties"]) == MEMBERS


def test_no_limit_keeps_a_balancer_from_asking(stack: ServerUrls, namespace: str) -> None:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    with running(settings, topology) as edge:
        wait_ready(edge)
        pages = topology.edge.limits.pages.limit
        for path in ("/health", "/health/live", "/health/ready"):
            assert {edge.ask("GET", path).status for _ in range(3 * pages)} == {200}


def test_without_kafka_it_lives_but_is_neither_ready_nor_healthy(namespace: str) -> None:
    settings = settings_for("127.0.0.1:1", namespace)
    with running(settings, load(settings.topology_file, namespace)) as edge:
        assert edge.ask("GET", "/health/live").status == 200
        status, shown = health(edge)
        assert status == 503
        assert shown["status"] == "starting"
        assert any("Kafka" in reason for reason in shown["reasons"])
        assert shown["kafka"] == {"breaker": "open", "reached_s_ago": None}
        assert not shown["reference_data"]["quizzes"]["read"]
        assert edge.ask("GET", "/health/ready").status == 503


@dataclass(frozen=True)
class Use:
    hits: int
    misses: int


class Part:
    """An edge's part with whatever is read from it."""

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def test_each_stage_has_its_status_and_any_cache_its_ratio() -> None:
    lifecycle: Any = Lifecycle()
    breaker: Any = Part(state=Part(name="HALF_OPEN"))
    publisher: Any = Part(problem=None, in_flight=0, in_flight_max=1, breaker=breaker, reached_s_ago=1.26)
    reference_data: Any = Part(problems=(), states=())
    limiter: Any = Part(is_shared=False, processes=4)
    caches = [lambda: {"quiz": Use(9, 1)}, lambda: {"token": Use(0, 0)}]
    parts = Observed(lifecycle, publisher, reference_data, limiter, None, lambda: breaker.state, caches)
    one = Health(parts, number=2)

    def shown() -> dict[str, Any]:
        reply = asyncio.run(one.health({}, None))  # type: ignore[arg-type]
        return {"code": reply.status, **json.loads(reply.body)}

    starting = shown()
    assert (starting["code"], starting["status"]) == (503, "starting")
    assert "shared port" in starting["reasons"][0]
    lifecycle.stage = Stage.SERVING
    serving = shown()
    assert (serving["code"], serving["status"], serving["edge"]) == (200, "ready", 2)
    assert serving["caches"]["quiz"] == {"hits": 9, "misses": 1, "hit_ratio": 0.9}
    assert serving["caches"]["token"]["hit_ratio"] is None
    assert serving["kafka"] == {"breaker": "half-open", "reached_s_ago": 1.3}
    publisher.problem = "Kafka: " + "x" * 10_000
    down = shown()
    assert (down["code"], down["status"]) == (503, "not-ready")
    assert len(down["reasons"][0]) <= 300
    lifecycle.stop()
    assert shown()["status"] == "stopping"


def test_memory_is_read_without_a_dependency() -> None:
    assert resident_bytes() > 1_000_000

"""Rate limits as clients meet them: over HTTP, on the fast path, over two edges, with and without Valkey."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replaced
from itertools import count

import pytest
from msgspec.structs import replace

from ingest_api.limits.rate_limited import rejected, stated
from ingest_api.limits.windows import Rule
from ops.embedded.stack import ServerUrls
from pipeline.topology.file import RateLimits, Sources, Window
from schemas.codec import codec
from schemas.records import Tenant
from tests.support.edge import (
    OTHER_TENANTS_TOKEN,
    REVOKED_TOKEN,
    SERVICE_TOKEN,
    Answer,
    Edge,
    prepare,
    running,
    settings_for,
    wait_ready,
    wait_until,
)
from tests.support.producer import delivered, make_producer
from tests.support.sinks import counted

NOBODY = "redis://127.0.0.1:9/0"
WIDE = Window(limit=1000, window_s=60)
LIMITS = RateLimits(
    address=Window(limit=3, window_s=60),
    pages=Window(limit=2, window_s=60),
    quiz_pages=Window(limit=2, window_s=60),
    token=Window(limit=2, window_s=60),
    service=Window(limit=5, window_s=60),
    quiz=WIDE,
    tenant=WIDE,
    progress=Window(limit=2, window_s=60),
    progress_quiz=WIDE,
    gather_ms=1,
    timeout_ms=60_000,
    processes_assumed=1,
    local_keys_max=1000,
)
BODY: dict[str, object] = {"answers": {}}
ADDRESSES = (f"198.51.100.{n}" for n in count(1))


@contextmanager
def limited(
    stack: ServerUrls,
    namespace: str,
    limits: RateLimits = LIMITS,
    url: str = "",
    edges: int = 1,
    region: str = "",
) -> Iterator[list[Edge]]:
    """Edges that believe this machine when it names a client."""
    settings = replaced(
        settings_for(stack.kafka_bootstrap, namespace), redis_url=url or stack.redis_url, region=region
    )
    topology = prepare(settings)
    sources = Sources(proxies=("127.0.0.0/8",), trusted=("203.0.113.0/24",))
    topology = replace(topology, edge=replace(topology.edge, limits=limits, sources=sources))
    with running(settings, topology) as one:
        wait_ready(one)
        if edges == 1:
            yield [one]
            return
        with running(settings, topology) as other:
            wait_ready(other)
            yield [one, other]


def post(edge: Edge, address: str, quiz_id: str = "survey", **headers: str) -> Answer:
    return edge.submit(quiz_id, BODY, x_forwarded_for=address, **headers)


def test_an_address_has_one_limit_over_all_edges_and_every_answer_states_it(
    stack: ServerUrls, namespace: str
) -> None:
    before = counted("quizstream_edge_limited_total", limit="address")
    with limited(stack, namespace, edges=2) as edges:
        one, other = next(ADDRESSES), next(ADDRESSES)
        answers = [post(edges[n % 2], one) for n in range(5)]
        assert [answer.status for answer in answers] == [202, 202, 202, 429, 429]
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"address";q=3;w=60'}
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == [
            "r=2",
            "r=1",
            "r=0",
            "r=0",
            "r=0",
        ]
        refused = answers[3]
        assert refused.problem == "rate-limited"
        assert "3 completions of one address" in refused.json["detail"]
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        reset_s = min(60, int(refused.headers["retry-after"]))
        assert refused.headers["ratelimit"] == f'"address";r=0;t={reset_s}'
        exposed = refused.headers["access-control-expose-headers"].split(", ")
        assert {"retry-after", "ratelimit", "ratelimit-policy"} <= set(exposed)
        assert post(edges[0], other).status == 202
        assert len(edges[0].completions()) == 4
    assert counted("quizstream_edge_limited_total", limit="address") == before + 2


def test_a_rejection_counts_and_states_the_limit_too(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace) as (edge,):
        address = next(ADDRESSES)
        unknown = post(edge, address, "no-such-quiz")
        invalid = edge.submit("survey", {}, x_forwarded_for=address)
        slash = edge.ask(
            "POST",
            "/api/quiz/survey/submit/",
            b"{",
            {"x-forwarded-for": address, "content-type": "text/json"},
        )
        assert [answer.problem for answer in (unknown, invalid, slash)] == [
            "unknown-quiz",
            "invalid-body",
            "invalid-json",
        ]
        assert [answer.headers["ratelimit"][:13] for answer in (unknown, invalid, slash)] == [
            '"address";r=2',
            '"address";r=1',
            '"address";r=0',
        ]
        assert post(edge, address).status == 429
        preflight = edge.ask("OPTIONS", "/quiz/survey/completions", headers={"x-forwarded-for": address})
        assert preflight.status == 204


def test_a_64_of_ipv6_is_one_address(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace) as (edge,):
        statuses = [post(edge, f"2001:db8:1:2::{n}").status for n in range(1, 5)]
        assert statuses == [202, 202, 202, 429]
        assert post(edge, "2001:db8:1:3::1").status == 202


def test_a_token_counts_instead_of_the_address(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace) as (edge,):
        address = next(ADDRESSES)
        service = [post(edge, address, authorization=f"Bearer {SERVICE_TOKEN}") for _ in range(6)]
        assert [answer.status for answer in service] == [202] * 5 + [429]
        assert service[0].headers["ratelimit-policy"] == '"service";q=5;w=60'
        tenants = [post(edge, address, authorization=f"Bearer {OTHER_TENANTS_TOKEN}") for _ in range(3)]
        assert [answer.status for answer in tenants] == [403, 403, 429]
        assert tenants[0].headers["ratelimit-policy"] == '"token";q=2;w=60'
        revoked = [post(edge, address, authorization=f"Bearer {REVOKED_TOKEN}") for _ in range(4)]
        assert [answer.status for answer in revoked] == [401, 401, 401, 429]


@pytest.mark.parametrize("name", ["quiz", "tenant"])
def test_a_quiz_and_a_tenant_have_limits_of_all_callers(stack: ServerUrls, namespace: str, name: str) -> None:
    narrow = replace(LIMITS, **{name: Window(limit=2, window_s=60)})
    with limited(stack, namespace, narrow) as (edge,):
        answers = [post(edge, next(ADDRESSES)) for _ in range(3)]
        assert [answer.status for answer in answers] == [202, 202, 429]
        assert answers[2].headers["ratelimit-policy"] == f'"{name}";q=2;w=60'
        assert post(edge, next(ADDRESSES), "anything").status == (202 if name == "quiz" else 429)
        # A refused request counts nowhere.
        address = next(ADDRESSES)
        assert post(edge, address).status == 429
        assert post(edge, address, "no-such-quiz").headers["ratelimit"].startswith('"address";r=2')


def tell(edge: Edge, tenant: Tenant) -> None:
    """As the outbox publishes it."""
    producer = make_producer(edge.settings.kafka_bootstrap_servers)
    topic = edge.topology.topic("tenants").name
    producer.produce(topic, codec("tenant").encode(tenant), tenant.tenant_id)
    delivered(producer)


def follows(edge: Edge, policy: str, quiz_id: str = "survey") -> int:
    """Wait until the edge states the limit of an address; each request has an address of its own.

    Return how many it accepted by the limits before.
    """
    before = 0

    def states_it() -> bool:
        nonlocal before
        answer = post(edge, next(ADDRESSES), quiz_id)
        is_stated = answer.headers["ratelimit-policy"] == policy
        before += not is_stated and answer.status == 202
        return is_stated

    wait_until(states_it, f"limit {policy}")
    return before


def test_a_tenants_own_limits_are_in_force_without_a_restart_and_end_so(
    stack: ServerUrls, namespace: str
) -> None:
    with limited(stack, namespace, edges=2) as edges:
        address = next(ADDRESSES)
        assert [post(edges[0], address).status for _ in range(4)] == [202, 202, 202, 429]
        tell(edges[0], Tenant("acme", 2, {"address": 5, "of_another_release": 7}))
        for edge in edges:
            follows(edge, '"address";q=5;w=60')
        # It counts what the address sends to this tenant from now on.
        own = [post(edges[n % 2], address) for n in range(6)]
        assert [answer.status for answer in own] == [202] * 5 + [429]
        assert own[0].headers["ratelimit"].startswith('"address";r=4')
        assert "5 completions of one address" in own[5].json["detail"]
        # Elsewhere the address has what the general limit left it.
        assert post(edges[0], address, "no-such-quiz").status == 429
        tell(edges[0], Tenant("acme", 1, {"address": 1}))  # older
        tell(edges[0], Tenant("acme", 3, {}))
        for edge in edges:
            follows(edge, '"address";q=3;w=60')


def test_a_day_quota_refuses_until_it_is_raised(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace, edges=2) as edges:
        tell(edges[0], Tenant("acme", 1, {"tenant_day": 4, "address": 9}))
        uncounted = sum(follows(edge, '"address";q=9;w=60') for edge in edges)
        wait_until(lambda: post(edges[0], next(ADDRESSES)).status == 429, "the quota")
        refused = post(edges[1], next(ADDRESSES), "anything")
        assert (refused.status, refused.headers["ratelimit-policy"]) == (429, '"tenant_day";q=4;w=86400')
        assert 80_000 < int(refused.headers["retry-after"]) <= 86_400 * 1.01
        assert len(edges[0].completions()) == 4 + uncounted
        tell(edges[0], Tenant("acme", 2, {"tenant_day": 5, "address": 9}))
        wait_until(lambda: post(edges[1], next(ADDRESSES)).status == 202, "the raised quota")
        assert post(edges[0], next(ADDRESSES)).status == 429
        assert len(edges[0].completions()) == 5 + uncounted


@pytest.mark.parametrize("url", ["", NOBODY])
def test_a_day_quota_counts_what_is_accepted(stack: ServerUrls, namespace: str, url: str) -> None:
    """Neither what is rejected for its content nor a repeat uses it up, with Valkey and without it."""
    with limited(stack, namespace, url=url) as (edge,):
        tell(edge, Tenant("acme", 1, {"tenant_day": 3, "address": 90}))
        address = next(ADDRESSES)
        wait_until(lambda: '"address";q=90' in str(bad(edge, address).headers), "the quota")
        for _ in range(20):
            assert bad(edge, address).status == 422
            assert post(edge, address, idempotency_key="the same one").status == 202
        # What is given back goes with the next call to Valkey.
        for what in ("a second one", "a third one"):
            wait_until(lambda: post(edge, next(ADDRESSES)).status == 202, what)
        assert post(edge, next(ADDRESSES)).headers["ratelimit-policy"] == '"tenant_day";q=3;w=86400'


def bad(edge: Edge, address: str) -> Answer:
    return edge.submit("survey", {"answers": 1}, x_forwarded_for=address)


def test_a_tenants_own_limits_hold_for_tokens_quizzes_and_pages(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace) as (edge,):
        tell(edge, Tenant("umbrella", 1, {"token": 4}))
        tell(edge, Tenant("acme", 1, {"quiz": 2, "quiz_pages": 1, "address": 9}))
        follows(edge, '"address";q=9;w=60', "anything")
        token = [post(edge, next(ADDRESSES), authorization=f"Bearer {OTHER_TENANTS_TOKEN}") for _ in range(5)]
        assert [answer.status for answer in token] == [403] * 4 + [429]
        assert {answer.headers["ratelimit-policy"] for answer in token} == {'"token";q=4;w=60'}
        # What another tenant's token was rejected for used up nothing of the quiz.
        quiz = [post(edge, next(ADDRESSES)) for _ in range(3)]
        assert [answer.status for answer in quiz] == [202, 202, 429]
        assert quiz[2].headers["ratelimit-policy"] == '"quiz";q=2;w=60'
        asked = {"x-forwarded-for": next(ADDRESSES)}
        pages = [edge.ask("GET", f"/quiz/closed{suffix}", headers=asked) for suffix in ("", ".json")]
        assert pages[0].status != 429
        assert (pages[1].status, pages[1].headers["ratelimit-policy"]) == (429, '"quiz_pages";q=1;w=60')


def test_a_region_has_a_quota_of_all_its_edges_and_completions_carry_it(
    stack: ServerUrls, namespace: str
) -> None:
    regional = replace(LIMITS, regions={"br": Window(limit=3, window_s=60)})
    with limited(stack, namespace, regional, edges=2, region="br") as edges:
        answers = [post(edges[n % 2], next(ADDRESSES), ("survey", "anything")[n % 2]) for n in range(4)]
        assert [answer.status for answer in answers] == [202, 202, 202, 429]
        assert answers[3].headers["ratelimit-policy"] == '"region";q=3;w=60'
        assert {one.region for one in edges[0].completions()} == {"br"}
        # A refused request counts nowhere, and an unknown quiz counts for no region.
        assert post(edges[0], next(ADDRESSES), "no-such-quiz").status == 404


def test_a_region_without_a_quota_has_none(stack: ServerUrls, namespace: str) -> None:
    regional = replace(LIMITS, regions={"br": Window(limit=1, window_s=60)})
    with limited(stack, namespace, regional, region="mx") as (edge,):
        assert [post(edge, next(ADDRESSES)).status for _ in range(3)] == [202] * 3


def test_trusted_sources_have_no_limit_of_an_address(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace) as (edge,):
        answers = [post(edge, "203.0.113.5") for _ in range(6)]
        assert {answer.status for answer in answers} == {202}
        assert "ratelimit" not in answers[0].headers


@pytest.mark.parametrize("retry_after_s", [0.2, 59.1, 60.0, 60.6])
def test_a_reset_lies_within_the_window(retry_after_s: float) -> None:
    """A request counts for up to a bucket longer than the window."""
    rule = Rule("address", 3, 60)
    assert dict(stated(rule, 0, retry_after_s))[b"ratelimit"] == b'"address";r=0;t=%d' % min(
        60, math.ceil(retry_after_s)
    )
    headers = dict(rejected(rule, retry_after_s).headers)
    assert headers[b"retry-after"] == b"%d" % math.ceil(retry_after_s)


def test_public_pages_have_their_own_limit(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace) as (edge,):
        asked = {"x-forwarded-for": next(ADDRESSES)}
        answers = [
            edge.ask("GET", path, headers=asked)
            for path in ("/openapi.json", "/problems/internal", "/problems")
        ]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[0].headers["ratelimit"] == '"pages";r=1;t=60'
        assert answers[0].headers["cache-control"] == "private", "it states the limit of one address"
        assert post(edge, asked["x-forwarded-for"]).status == 202
        assert edge.ask("GET", "/health/live", headers=asked).status == 200


def test_reports_of_progress_have_limits_of_their_own(stack: ServerUrls, namespace: str) -> None:
    report = {"visit_id": "0190c2a4-7e3a-7bcd-8f00-123456789abc", "kind": "started"}
    narrow = replace(LIMITS, progress_quiz=Window(limit=3, window_s=60))
    with limited(stack, namespace, narrow) as (edge,):
        one, other = next(ADDRESSES), next(ADDRESSES)
        answers = [edge.report("survey", report, x_forwarded_for=one) for _ in range(3)]
        assert [answer.status for answer in answers] == [202, 202, 429]
        assert answers[0].headers["ratelimit"] == '"progress";r=1;t=60'
        assert [post(edge, one).status for _ in range(3)] == [202, 202, 202]
        of_quiz = [edge.report("survey", report, x_forwarded_for=other) for _ in range(2)]
        assert [answer.status for answer in of_quiz] == [202, 429]
        assert of_quiz[1].headers["ratelimit-policy"] == '"progress_quiz";q=3;w=60'
        assert edge.report("capitals", report, x_forwarded_for=other).status == 202


def test_without_valkey_completions_are_accepted_and_limits_hold(stack: ServerUrls, namespace: str) -> None:
    with limited(stack, namespace, url=NOBODY) as (edge,):
        address = next(ADDRESSES)
        answers = [post(edge, address) for _ in range(4)]
        assert [answer.status for answer in answers] == [202, 202, 202, 429]
        assert answers[3].headers["ratelimit-policy"] == '"address";q=3;w=60'
        wait_until(lambda: "quizstream_edge_limits_local 1.0" in metrics(edge), "the gauge")
        assert edge.ask("GET", "/health/ready").status == 200


def metrics(edge: Edge) -> str:
    return edge.ask("GET", "/metrics").body.decode()

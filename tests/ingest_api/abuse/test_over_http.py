"""Abuse as clients and operators meet it: two edges on a real Valkey, also while that is killed."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace as replaced
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from ops.abuse import operations
from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from pipeline.abuse.addresses import AddressKeys
from pipeline.abuse.states import Cause, State, follow
from pipeline.abuse.verdicts import Verdicts
from pipeline.runtime.clock import now_ms
from pipeline.runtime.valkey import connect as connect_valkey
from pipeline.topology.file import Sources, Window
from sinks.postgres.audit_log import entries
from sinks.postgres.connect import connect
from tests.conftest import own_database
from tests.support.edge import (
    SERVICE_TOKEN,
    Answer,
    Edge,
    prepare,
    running,
    settings_for,
    wait_ready,
    wait_until,
)
from tests.support.ports import free_ports
from tests.support.sinks import counted
from tests.support.valkeys import own_valkey

ADDRESSES = (f"198.51.{n // 200}.{n % 200 + 1}" for n in count(1))
AT_ONCE = 40
WAIT_S, ANSWER_S = 1, 2
pytestmark = pytest.mark.timeout(300)


@contextmanager
def two_edges(stack: ServerUrls, namespace: str, redis_url: str, database_url: str) -> Iterator[list[Edge]]:
    """Edges that believe this machine when it names a client."""
    settings = replaced(
        settings_for(stack.kafka_bootstrap, namespace), redis_url=redis_url, database_url=database_url
    )
    topology = prepare(settings)
    edge = topology.edge
    wide = replace(edge.limits, address=Window(100_000, 60), timeout_ms=60_000)
    abuse = replace(edge.abuse, ticket_wait_s=WAIT_S, answer_within_s=ANSWER_S, interval_ms=200)
    sources = Sources(proxies=("127.0.0.0/8",), trusted=("203.0.113.0/24",))
    topology = replace(topology, edge=replace(edge, limits=wide, abuse=abuse, sources=sources))
    with running(settings, topology) as one, running(settings, topology) as other:
        wait_ready(one)
        wait_ready(other)
        yield [one, other]


@pytest.fixture
def edges(stack: ServerUrls, namespace: str, migrated_template: str) -> Iterator[list[Edge]]:
    with (
        own_database(stack, migrated_template) as database_url,
        two_edges(stack, namespace, stack.redis_url, database_url) as both,
    ):
        yield both


def post(edge: Edge, address: str, phone: str | None = None, **headers: str) -> Answer:
    body = {"answers": {"color": "red"}, **({"contact": {"phone": phone}} if phone else {})}
    return edge.submit("survey", body, x_forwarded_for=address, **headers)


def is_blocked(answer: Answer) -> bool:
    return answer.status == 429 and answer.problem == "blocked"


def attack(edges: list[Edge], address: str) -> tuple[int, Answer]:
    """Walk through a range of phones, many at once, until it is blocked; return how many were accepted.

    A script that waited for each answer would be slowed by the delay, and need no block. It answers no
    challenge.
    """
    accepted = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in count(0, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            answers = list(
                pool.map(lambda n: post(edges[n % len(edges)], address, f"+554799{n % 10**7:07d}"), numbers)
            )
            accepted += sum(answer.status == 202 for answer in answers)
            blocked = [answer for answer in answers if is_blocked(answer)]
            if blocked:
                return accepted, blocked[-1]
    raise AssertionError("it has no end")


def block_everywhere(edges: list[Edge], address: str) -> None:
    for edge in edges:
        wait_until(lambda edge=edge: is_blocked(post(edge, address)), "the block at each edge")  # type: ignore[misc]


def found(edge: Edge) -> Deployment:
    return Deployment(edge.settings, edge.topology)


def test_an_attack_is_blocked_at_every_edge_until_an_operator_releases_it(edges: list[Edge]) -> None:
    attackers = [next(ADDRESSES) for _ in range(2)]
    before = counted("quizstream_abuse_requests_total", what="blocked")
    for address in attackers:
        accepted, answer = attack(edges, address)
        assert answer.problem == "blocked"
        assert 1 <= int(answer.headers["retry-after"]) <= edges[0].topology.edge.abuse.block_s
        assert "access-control-allow-origin" in answer.headers
        assert accepted < 1_000
        block_everywhere(edges, address)
    assert counted("quizstream_abuse_requests_total", what="blocked") > before
    address = attackers[0]
    assert post(edges[0], next(ADDRESSES)).status == 202, "another address is not blocked"
    assert post(edges[0], address, authorization=f"Bearer {SERVICE_TOKEN}").status == 202
    assert answer.json["ticket"], "who shares the address may answer"
    of_address = {"x-forwarded-for": address}
    assert edges[0].ask("GET", "/quiz/survey", headers=of_address).status != 429

    listed = operations.list_verdicts(found(edges[0]))
    assert {one.who for one in listed if one.state == "blocked"} == set(attackers)
    shown = operations.show(found(edges[0]), address)
    assert shown.points["neighbours"] > 50
    with connect(edges[0].settings.database_url, "test") as connection:
        operations.release(found(edges[0]), connection, "an operator", address, "a test")
        (entry,) = entries(connection, limit=10).items
        assert (entry.action, entry.subject) == ("abuse.release", shown.subject)
        assert address not in str(entry)
    for edge in edges:
        wait_until(lambda edge=edge: post(edge, address).status == 202, "the release")  # type: ignore[misc]
    for number in range(200):
        assert post(edges[number % 2], address, f"+554798{number:07d}").status == 202, "it is not judged"
    assert post(edges[0], attackers[1]).status == 429


def test_a_blocked_request_is_answered_before_its_body(edges: list[Edge]) -> None:
    address = next(ADDRESSES)
    with connect(edges[0].settings.database_url, "test") as connection:
        operations.block(found(edges[0]), connection, "an operator", address, "a test", 600)
    block_everywhere(edges, address)
    assert "ticket" not in post(edges[0], address).json, "an operator's block lets nobody pass"
    of_address = {"x-forwarded-for": address}
    assert edges[0].ask("GET", "/quiz/survey", headers=of_address).status == 429
    report = json.dumps({"visit_id": "0190c2a4-7e3a-7bcd-8f00-123456789abc", "kind": "started"}).encode()
    assert edges[0].ask("POST", "/quiz/survey/progress", report, of_address).problem == "blocked"
    pinged = edges[0].ask("POST", "/ping", b"", of_address)
    assert pinged.json["next_ping_ms"] == edges[0].topology.edge.ping.interval_max_s * 1000
    head = (
        f"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", edges[0].port), timeout=60) as connection_:
        connection_.sendall(head.encode())
        assert connection_.recv(100).startswith(b"HTTP/1.1 429")


def test_a_trusted_source_is_never_judged(edges: list[Edge]) -> None:
    for number in range(400):
        assert post(edges[number % 2], "203.0.113.5", f"+554797{number:07d}").status == 202


def test_an_edge_that_starts_has_the_blocks_and_they_end(edges: list[Edge]) -> None:
    address = next(ADDRESSES)
    with connect(edges[0].settings.database_url, "test") as connection:
        operations.block(found(edges[0]), connection, "an operator", address, "a test", 600)
        block_everywhere(edges, address)
        with running(edges[0].settings, edges[0].topology) as another:
            wait_ready(another)
            wait_until(lambda: post(another, address).problem == "blocked", "the block")
        operations.block(found(edges[0]), connection, "an operator", address, "a test", 1)
    for edge in edges:
        wait_until(lambda edge=edge: post(edge, address).status == 202, "the end of the block")  # type: ignore[misc]
    assert operations.show(found(edges[0]), address).state == "ended"


def test_a_challenge_is_answered_by_the_same_request_with_its_ticket(edges: list[Edge]) -> None:
    address = next(ADDRESSES)
    asyncio.run(challenge(edges[0], address))
    wait_until(lambda: post(edges[0], address).status == 429, "the challenge")
    asked = post(edges[0], address)
    assert asked.problem == "challenged"
    assert asked.headers["retry-after"] == str(WAIT_S)
    path = f"/quiz/survey/completions?ticket={asked.json['ticket']}"
    headers = {"x-forwarded-for": address, "content-type": "text/plain"}
    body = b'{"answers": {"color": "red"}, "completion_id": "a-key-of-a-browser"}'
    time.sleep(WAIT_S)
    wait_until(
        lambda: edges[1].ask("POST", path, body, headers).status == 202, "the ticket at the other edge"
    )
    for edge in edges:
        again = edge.ask("POST", path, body, headers)
        assert again.problem == "challenged", "a ticket is used once, by whichever process"
        assert again.json["ticket"] != asked.json["ticket"]


async def challenge(edge: Edge, address: str) -> None:
    named, sealed = AddressKeys(edge.settings.contact_key).subject_of(address)
    limits, now = edge.topology.edge.abuse, now_ms()
    verdict = follow(None, State.CHALLENGED, Cause.SCORE, named=named, sealed=sealed, now_ms=now, lasts_s=600)
    verdicts = Verdicts(
        partial(connect_valkey, edge.settings.redis_url, 60.0), edge.topology.namespace, limits, 60.0
    )
    assert await verdicts.put(verdict, None, now)
    await verdicts.close()


def test_valkey_killed_and_back_keeps_blocks_and_finds_new_ones(
    stack: ServerUrls, namespace: str, migrated_template: str, tmp_path: Path
) -> None:
    with (
        own_valkey(tmp_path, free_ports().valkey, "--save", "") as valkey,
        own_database(stack, migrated_template) as database_url,
        two_edges(stack, namespace, valkey.url, database_url) as edges,
    ):
        first, second = next(ADDRESSES), next(ADDRESSES)
        attack(edges, first)
        block_everywhere(edges, first)
        valkey.kill()
        wait_until(lambda: counted("quizstream_abuse_alone") == 1, "it is openly alone")
        assert is_blocked(post(edges[0], first)), "what is known stays"
        _, answer = attack(edges[:1], second)
        assert answer.problem == "blocked", "each judges by what it sees"
        assert not is_blocked(post(edges[1], second)), "which the other has not seen"
        valkey.start()
        wait_until(lambda: counted("quizstream_abuse_alone") == 0, "it is back")
        wait_until(lambda: is_blocked(post(edges[1], second)), "the other has it now")
        shown = {one.who for one in operations.list_verdicts(found(edges[0]))}
        assert {first, second} <= shown

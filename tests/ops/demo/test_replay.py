"""A replay hands every row in until the edge has said yes or no, with one key however often it must ask."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from ops.demo.answer_table import AnswerTable
from ops.demo.replay import Accepted, GaveUp, Plan, Rejected, RowOutcome, Summary, replay

CREATED_AT_MS = 1_700_000_000_000


class Edge:
    """Answers as a test says, by how often a key came before; remembers what it was asked."""

    def __init__(self, say: Callable[[dict[str, Any], int], web.StreamResponse | None]) -> None:
        self._say = say
        self.asked: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.bodies: list[dict[str, Any]] = []

    async def receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        contact = body.get("contact", {}).get("phone", "")
        key = request.headers["Idempotency-Key"]
        before = self.asked[key, contact]
        self.asked[key, contact] += 1
        self.bodies.append(body)
        reply = self._say(body, before)
        if reply is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if reply.status == 202:
            digest = hashlib.sha256(f"{key}|{contact}".encode()).hexdigest()
            return web.json_response({"completion_id": digest}, status=202)
        return reply


def run(edge: Edge, path: Path, **options: Any) -> tuple[Summary, list[RowOutcome]]:
    async def drive() -> tuple[Summary, list[RowOutcome]]:
        app = web.Application()
        app.router.add_post("/quiz/{quiz}/completions", edge.receive)
        async with TestServer(app) as server:
            table = AnswerTable.open(path, options.pop("contact_column", None))
            plan = Plan(table, "cores", CREATED_AT_MS, str(server.make_url("")), "token", **options)
            outcomes: list[RowOutcome] = []
            return await replay(plan, outcomes.append, rng=random.Random(1)), outcomes

    return asyncio.run(drive())


def accepted() -> web.Response:
    return web.Response(status=202)


def csv_file(tmp_path: Path, rows: int) -> Path:
    path = tmp_path / "cores.csv"
    path.write_text("cor,nota\n" + "".join(f"azul,{n}\n" for n in range(rows)))
    return path


def test_a_second_replay_on_another_day_is_the_same_ids_and_days(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 50)
    edge = Edge(lambda body, before: accepted())
    _, first = run(edge, path)
    summary, second = run(edge, path)
    assert summary.accepted == 50
    assert set(first) == set(second)
    assert {body["submitted_at"] for body in edge.bodies} == {"2023-11-14T22:13:20.000Z"}


def test_a_broken_or_refused_for_now_request_is_retried_with_the_same_key(tmp_path: Path) -> None:
    """First of all the quiz is not known, then each row meets 503, a broken connection and 429."""
    replies: list[Callable[[], web.StreamResponse | None]] = [
        lambda: web.Response(status=404),
        lambda: web.Response(status=503, headers={"Retry-After": "0"}),
        lambda: None,
        lambda: web.Response(status=429),
        accepted,
    ]
    edge = Edge(lambda body, before: replies[before if body["answers"]["nota"] == 0 else before + 1]())
    summary, outcomes = run(edge, csv_file(tmp_path, 8))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert sorted(outcome.line for outcome in outcomes) == list(range(2, 10))
    assert len(edge.asked) == 8
    assert sorted(edge.asked.values()) == [4] * 7 + [5]
    assert summary.retries == 4 + 7 * 3


def test_rows_refused_for_good_and_rows_that_cannot_be_read_are_named_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cores.csv"
    path.write_text("fone,nota\n11961234567,1\n123,2\n11961234568\n11961234569,4\n")

    def say(body: dict[str, Any], before: int) -> web.Response:
        if body["contact"]["phone"] == "123":
            return web.json_response(
                {"title": "No", "detail": "contact.phone is no phone number"}, status=422
            )
        return accepted()

    summary, outcomes = run(Edge(say), path, contact_column="fone")
    rejected = {outcome.line: outcome.problem for outcome in outcomes if isinstance(outcome, Rejected)}
    assert rejected == {
        3: "HTTP 422: contact.phone is no phone number",
        4: "has 1 cells, the header has 2",
    }
    assert (summary.rows, summary.accepted, summary.rejected, summary.ok) == (4, 2, 2, False)


def test_a_row_that_never_gets_an_answer_is_given_up_not_forgotten(tmp_path: Path) -> None:
    edge = Edge(lambda body, before: web.Response(status=503))
    summary, outcomes = run(edge, csv_file(tmp_path, 1), give_up_after_s=0.2)
    assert outcomes == [GaveUp(2, "HTTP 503")]
    assert not summary.ok


def test_with_a_rate_rows_are_posted_while_answers_are_still_out(tmp_path: Path) -> None:
    """Open loop: the edge answers no row until all ten but the first have come."""
    came: list[int] = []
    everybody_here = asyncio.Event()

    class Slow(Edge):
        async def receive(self, request: web.Request) -> web.StreamResponse:
            came.append(1)
            if len(came) == 10:
                everybody_here.set()
            if len(came) > 1:
                await everybody_here.wait()
            return await super().receive(request)

    summary, _ = run(
        Slow(lambda body, before: accepted()), csv_file(tmp_path, 10), rate_per_s=1000.0, concurrency=1
    )
    assert summary.accepted == 10

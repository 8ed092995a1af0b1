"""However often and however concurrently one completion is handed in, it is one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from schemas import ids
from schemas.codec import codec
from schemas.records import Completion, Personal
from tests.support.producer import delivered, make_producer
from tests.support.quizzes import Make
from tests.support.running_pipeline import Pipeline

pytestmark = pytest.mark.xdist_group("acceptance")


async def post(session: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any]) -> str:
    async with session.post(url, json=body, headers={"Idempotency-Key": key}) as response:
        assert response.status == 202, await response.text()
        answer: dict[str, str] = await response.json()
        return answer["completion_id"]


def test_a_thousand_concurrent_posts_with_one_key_are_one_row_one_verdict_one_message(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    make_quiz("mil-vezes")
    url = f"{pipeline.found.settings.edge_url}/quiz/mil-vezes/completions"
    phone = "+5511987650001"
    body = {"contact": {"phone": phone}, "answers": {"quer": "sim"}}
    headers = {"Authorization": f"Bearer {pipeline.found.settings.service_token}"}

    async def hand_in() -> tuple[set[str], list[str]]:
        connector = aiohttp.TCPConnector(limit=1000)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            same = set(await asyncio.gather(*(post(session, url, "uma-chave", body) for _ in range(1000))))
            others = [await post(session, url, f"outra-chave-{n}", body) for n in range(5)]
            return same, others

    same, others = asyncio.run(hand_in())
    assert len(same) == 1
    (completion_id,) = same
    report = pipeline.settled()

    assert report.ok, report.breaches
    rows = "SELECT count(*) FROM completions WHERE completion_id = %s"
    assert pipeline.value(rows, completion_id) == 1
    verdicts = "SELECT completion_id::text, verdict FROM outcomes WHERE completion_id = ANY(%s::uuid[])"
    verdict_of = dict(pipeline.rows(verdicts, [completion_id, *others]))
    # The window of contact and quiz is five: the thousand counted one, so only the sixth key is over it.
    assert [verdict_of[one] for one in (completion_id, *others)] == ["matched"] * 5 + ["limited"]
    assert [call["to"] for call in pipeline.calls()].count(phone.removeprefix("+")) == 1


def test_the_same_completion_retried_across_midnight_is_still_one(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    """Without a time of its own a completion has the day of its arrival: the retry's is the next one."""
    make_quiz("meia-noite")
    settings, topology = pipeline.found.settings, pipeline.found.topology
    phone, now_ms = "+5511987650002", int(time.time() * 1000)
    contact_id = ids.contact_id(settings.contact_key, "demo-personalidade", phone)
    completion_id = ids.completion_id("demo-personalidade", "meia-noite", "chave", contact_id)
    before = Completion(
        completion_id=completion_id,
        tenant_id="demo-personalidade",
        quiz_id="meia-noite",
        quiz_version=1,
        contact_id=contact_id,
        day=ids.day_of(now_ms) - 1,
        submitted_at=now_ms - ids.DAY_MS,
        accepted_at=now_ms,
        answers={"quer": "sim"},
        personal=Personal(phone=phone),
    )
    after = msgspec.structs.replace(before, day=before.day + 1, submitted_at=now_ms, accepted_at=now_ms + 1)
    producer = make_producer(settings.kafka_bootstrap_servers)
    for completion in (before, after):
        topic = topology.topic("completions").name
        producer.produce(topic, codec("completion").encode(completion), contact_id.encode())
    delivered(producer)
    report = pipeline.settled()

    assert report.ok, report.breaches
    query = "SELECT count(*) FROM {} WHERE completion_id = %s"
    for table in ("completions", "outcomes", "deliveries"):
        assert pipeline.value(query.format(table), completion_id) == 1, table
    assert [call["to"] for call in pipeline.calls()].count(phone.removeprefix("+")) == 1

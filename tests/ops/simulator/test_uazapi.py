"""The simulated UAZAPI, in this process: what it requires, what it writes down, what it finds and reports."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from ops.audit.provider_record import Call, certainly_not_sent
from ops.simulated_instances import token_of, webhook_key_of
from ops.simulator.app import create_app
from ops.simulator.catalogue import templates
from ops.simulator.common.addresses import Addresses
from ops.simulator.common.instances import Instances
from ops.simulator.common.record import Record
from ops.simulator.common.rules import Rule, Rules
from ops.simulator.send import Provider
from ops.simulator.uazapi import answers
from ops.simulator.uazapi.webhooks import UazapiWebhooks
from ops.simulator.webhooks import Webhooks
from sinks.postgres.catalogue.webhook_keys import key_hash
from sinks.webhook import Secrets, Webhook, WebhookRequest
from sinks.whatsapp.uazapi.webhook import SOURCE

NUMBER = "551100000001"
TOKEN = token_of("base", NUMBER)
PERSON = "5511987654321"
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"


class Edge:
    """Takes webhooks as the real edge does, and reads them."""

    def __init__(self) -> None:
        self.webhooks: list[Webhook] = []
        edge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                query = {"key": self.path.partition("?key=")[2]}
                secrets = Secrets(key_hash(webhook_key_of(b"secret", NUMBER)).encode(), "")
                genuine = SOURCE.is_genuine(WebhookRequest({}, query, body), secrets)
                genuine &= self.path.startswith(f"/webhooks/uazapi/{NUMBER}?")
                if genuine:
                    assert TOKEN.encode() in body
                    stored = SOURCE.stored(WebhookRequest({}, {}, body))
                    assert TOKEN.encode() not in stored
                    edge.webhooks.append(SOURCE.parse(stored, int(time.time() * 1000) + 60_000, NUMBER))
                self.send_response(200 if genuine else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Simulator:
    def __init__(self, folder: Path, edge: Edge) -> None:
        rng = random.Random(1)
        self.now = 1000.0
        self.record = Record(folder / "calls.jsonl")
        clock = self.clock
        meta = Webhooks("http://127.0.0.1:1", b"-", rng, time.monotonic)
        self.provider = Provider("base", self.record, meta, rng, clock, clock, templates=templates({}))
        webhooks = UazapiWebhooks(
            Addresses(edge.url, "uazapi", b"secret"),
            rng,
            time.monotonic,
            lambda number: token_of("base", number),
        )
        of = Instances(answers.WORDS, self.provider, "base", webhooks, rng, clock, clock)
        self.http = TestClient(create_app(self.provider, {"uazapi": of}))

    def clock(self) -> float:
        return self.now

    def post(self, path: str, body: object, token: str = TOKEN) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.http.post(path, content=content, headers={"token": token} if token else {})
        return answer.status_code, answer.json() if answer.content else None

    def text(self, text: str = "oi", token: str = TOKEN, **more: Any) -> tuple[int, Any]:
        body = {"number": PERSON, "text": text, "track_id": ATTEMPT, "track_source": "quizstream", **more}
        return self.post("/send/text", body, token)

    def find(self, track_id: str = ATTEMPT, token: str = TOKEN) -> list[str]:
        status, found = self.post("/message/find", {"track_id": track_id}, token)
        assert status == 200
        return [message["messageid"] for message in found["messages"]]

    def calls(self) -> list[Call]:
        return [msgspec.json.decode(line, type=Call) for line in self.record.page(0)]

    def wait_for_webhooks(self, count: int) -> None:
        for _ in range(2000):
            found = self.http.get("/simulator/counts").json()["webhooks"]
            if found["pending"] == 0 and found["posted"] >= count:
                return
            self.http.portal.call(asyncio.sleep, 0.02)  # type: ignore[union-attr]
        raise AssertionError(found)


@pytest.fixture
def edge() -> Iterator[Edge]:
    made = Edge()
    yield made
    made.close()


@pytest.fixture
def simulator(tmp_path: Path, edge: Edge) -> Iterator[Simulator]:
    made = Simulator(tmp_path, edge)
    with made.http:
        yield made


def test_a_message_is_recorded_found_and_reported(simulator: Simulator, edge: Edge) -> None:
    simulator.provider.behaviour = msgspec.structs.replace(
        simulator.provider.behaviour, read_ratio=1.0, delivered_skipped_ratio=0.0, duplicate_ratio=1.0
    )
    status, answer = simulator.text()
    assert (status, answer["response"]["status"]) == (200, "success")
    (call,) = simulator.calls()
    assert (call.number, call.to, call.attempt_id, call.provider) == (NUMBER, PERSON, ATTEMPT, "uazapi")
    assert call.wamid == answer["messageid"]
    assert simulator.find() == [call.wamid]
    simulator.wait_for_webhooks(6)
    statuses = [status for webhook in edge.webhooks for status in webhook.statuses]
    assert sorted(one.status for one in statuses) == ["delivered"] * 2 + ["read"] * 2 + ["sent"] * 2
    assert {one.message_id for one in statuses} == {call.wamid}
    assert {one.attempt_id for one in statuses if one.status == "sent"} == {ATTEMPT}


def test_a_track_id_takes_duplicates_and_another_number_finds_none(simulator: Simulator) -> None:
    first, second = simulator.text()[1]["messageid"], simulator.text()[1]["messageid"]
    assert first != second
    assert simulator.find() == [first, second]
    assert simulator.find(token=token_of("base", "551100000002")) == []
    assert simulator.find("another") == []
    assert simulator.post("/message/find", {"track_id": ATTEMPT}, "wrong")[0] == 401


def test_what_is_found_is_found_late_and_after_a_restart(
    simulator: Simulator, tmp_path: Path, edge: Edge
) -> None:
    simulator.http.patch("/simulator/behaviour", json={"find_after_s": 10})
    message_id = simulator.text()[1]["messageid"]
    assert simulator.find() == []
    simulator.now += 10
    assert simulator.find() == [message_id]
    again = Simulator(tmp_path, edge)
    with again.http:
        assert again.find() == [message_id]
        assert again.text()[1]["messageid"] != message_id


@pytest.mark.parametrize(
    ("path", "body", "token", "status", "error"),
    [
        ("/send/text", {"number": PERSON, "text": "oi"}, "", 401, "missing token"),
        ("/send/text", {"number": PERSON, "text": "oi"}, "other", 401, "Invalid token"),
        ("/send/text", {"number": PERSON}, TOKEN, 400, "Missing number or text"),
        ("/send/text", b"no json", TOKEN, 400, "Missing number or text"),
        (
            "/send/media",
            {"number": PERSON, "type": "hologram"},
            TOKEN,
            400,
            "Invalid media type or file format",
        ),
        (
            "/send/text",
            {"number": "123", "text": "oi"},
            TOKEN,
            500,
            "the number 123@s.whatsapp.net is not on WhatsApp",
        ),
    ],
)
def test_a_rejection_in_the_apis_own_words_is_certain(
    simulator: Simulator, path: str, body: object, token: str, status: int, error: str
) -> None:
    assert simulator.post(path, body, token) == (status, {"error": error})
    (call,) = simulator.calls()
    assert (call.status, call.code, call.wamid) == (status, error, None)
    assert certainly_not_sent(call)


def test_a_lost_session_rejects_until_it_is_there_again(simulator: Simulator, edge: Edge) -> None:
    lost = {"number": NUMBER, "connected": False}
    assert simulator.http.post("/simulator/sessions", json=lost).status_code == 204
    status, answer = simulator.text()
    assert (status, answer["error"]) == (503, True)
    assert certainly_not_sent(simulator.calls()[0])
    simulator.http.post("/simulator/sessions", json={**lost, "connected": True})
    assert simulator.text()[0] == 200
    simulator.wait_for_webhooks(2)
    notices = [
        notice for webhook in edge.webhooks for notice in webhook.notices if notice.kind == "connection"
    ]
    assert sorted((notice.event, notice.effect) for notice in notices) == [
        ("connected", "session_open"),
        ("logged_out", "quarantine"),
    ]


def test_too_many_a_minute_and_placeholders(simulator: Simulator) -> None:
    simulator.http.patch("/simulator/behaviour", json={"session_messages_per_minute": 2})
    assert [simulator.text("a {{name}}")[0] for _ in range(3)] == [200, 200, 429]
    assert simulator.provider.last_messages[0]["request"]["text"] == "a "  # replaced by the provider
    simulator.now += 60
    assert simulator.text()[0] == 200


def test_a_person_writes(simulator: Simulator, edge: Edge) -> None:
    given = {"number": NUMBER, "sender": f"+{PERSON}", "text": "SAIR", "provider": "uazapi"}
    assert simulator.http.post("/simulator/inbound", json=given).status_code == 202
    simulator.wait_for_webhooks(1)
    (event,) = edge.webhooks[0].inbound
    assert (event.ids, event.number_id, event.texts) == ((PERSON,), NUMBER, ("SAIR",))


def test_a_rule_hits_each_nth_call_and_a_seeded_part() -> None:
    def hits(rule: Rule, calls: int, seed: int = 1) -> list[int]:
        rules = Rules(random.Random(seed))
        rules.add(rule)
        return [number for number in range(1, calls + 1) if rules.decide("1", "2") is not None]

    assert hits(Rule(do="reset", every=3), 10) == [3, 6, 9]
    assert hits(Rule(do="reset", every=3, count=2), 20) == [3, 6]
    assert hits(Rule(do="reset", skip=1, count=2), 9) == [2, 3]
    seeded = hits(Rule(do="reset", ratio=0.3), 200)
    assert 30 < len(seeded) < 90
    assert hits(Rule(do="reset", ratio=0.3), 200) == seeded != hits(Rule(do="reset", ratio=0.3), 200, 2)

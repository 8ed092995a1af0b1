"""The simulated Twilio, in this process: what it requires, writes down and reports."""

from __future__ import annotations

import asyncio
import random
import time
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from starlette.testclient import TestClient

from ops.audit.provider_record import Call, certainly_not_sent
from ops.simulated_instances import TWILIO_ACCOUNT
from ops.simulator.app import create_app
from ops.simulator.catalogue import templates
from ops.simulator.common.instances import Instances
from ops.simulator.common.record import Record
from ops.simulator.send import Provider
from ops.simulator.twilio.answers import TwilioWords
from ops.simulator.twilio.webhooks import TwilioWebhooks
from ops.simulator.webhooks import Webhooks
from sinks.messaging.sms.webhook import SOURCE
from sinks.webhook import Secrets, Webhook, WebhookRequest

ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
PERSON = "5511987654321"
NUMBER = "551100000001"


class Edge:
    """Takes webhooks as the real edge does, and reads them."""

    def __init__(self) -> None:
        self.webhooks: list[Webhook] = []
        edge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower().encode(): value.encode() for name, value in self.headers.items()}
                query = dict(parse_qsl(urlsplit(self.path).query))
                request = WebhookRequest(headers, query, body, f"{edge.base}{self.path}")
                genuine = SOURCE.is_genuine(request, Secrets(b"base", ""))
                if genuine:
                    edge.webhooks.append(SOURCE.parse(SOURCE.stored(request), int(time.time() * 1000)))
                self.send_response(200 if genuine else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Simulator:
    def __init__(self, folder: Path, edge: Edge) -> None:
        rng = random.Random(1)
        self.edge = edge
        self.record = Record(folder / "calls.jsonl")
        meta = Webhooks("http://127.0.0.1:1", b"-", rng, time.monotonic)
        self.provider = Provider(
            "base", self.record, meta, rng, time.time, time.monotonic, templates=templates({})
        )
        words = TwilioWords()
        webhooks = TwilioWebhooks(
            f"{edge.base}/webhooks/twilio", "base", rng, time.monotonic, words.opted_out
        )
        of = Instances(words, self.provider, "base", webhooks, rng, time.time, time.monotonic)
        self.http = TestClient(create_app(self.provider, {"twilio": of}))

    def post(self, login: str = f"{TWILIO_ACCOUNT}:base", **more: str) -> tuple[int, Any]:
        callback = f"{self.edge.base}/webhooks/twilio?attempt={ATTEMPT}"
        form = {"To": f"+{PERSON}", "From": f"+{NUMBER}", "Body": "oi", "StatusCallback": callback} | more
        headers = {"authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
        path = f"/2010-04-01/Accounts/{TWILIO_ACCOUNT}/Messages.json"
        answer = self.http.post(path, content=urlencode(form).encode(), headers=headers)
        return answer.status_code, answer.json()

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
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    edge = Edge()
    made = Simulator(tmp_path, edge)
    with made.http:
        yield made
    edge.close()


def test_a_message_is_recorded_and_its_statuses_are_reported_twice(simulator: Simulator) -> None:
    simulator.provider.behaviour = msgspec.structs.replace(simulator.provider.behaviour, duplicate_ratio=1.0)
    status, answer = simulator.post()
    assert (status, answer["status"], answer["error_code"]) == (201, "queued", None)
    (call,) = simulator.calls()
    assert (call.number, call.to, call.attempt_id, call.provider) == (NUMBER, PERSON, ATTEMPT, "twilio")
    assert call.wamid == answer["sid"]
    simulator.wait_for_webhooks(6)
    statuses = [status for webhook in simulator.edge.webhooks for status in webhook.statuses]
    assert sorted(one.status for one in statuses) == ["delivered"] * 2 + ["sent"] * 2
    assert {(one.message_id, one.attempt_id) for one in statuses} == {(call.wamid, ATTEMPT)}


@pytest.mark.parametrize(
    ("form", "login", "status", "code"),
    [
        ({}, "", 401, 20003),
        ({}, f"{TWILIO_ACCOUNT}:other", 401, 20003),
        ({"To": "5511987654321"}, f"{TWILIO_ACCOUNT}:base", 400, 21211),
        ({"Body": " "}, f"{TWILIO_ACCOUNT}:base", 400, 21602),
        ({"Body": "a" * 1601}, f"{TWILIO_ACCOUNT}:base", 400, 21617),
    ],
)
def test_a_rejection_in_the_apis_own_codes_is_certain(
    simulator: Simulator, form: dict[str, str], login: str, status: int, code: int
) -> None:
    got, answer = simulator.post(login, **form)
    assert (got, answer["code"]) == (status, code)
    (call,) = simulator.calls()
    assert (call.status, call.code, call.wamid) == (status, str(code), None)
    assert certainly_not_sent(call)


def test_a_person_who_answers_stop_is_rejected_by_the_provider_itself(simulator: Simulator) -> None:
    given = {"number": NUMBER, "sender": f"+{PERSON}", "text": "STOP", "provider": "twilio"}
    assert simulator.http.post("/simulator/inbound", json=given).status_code == 202
    simulator.wait_for_webhooks(1)
    (event,) = simulator.edge.webhooks[0].inbound
    assert (event.ids, event.number_id, event.texts) == ((PERSON,), NUMBER, ("STOP",))
    assert simulator.post()[1]["code"] == 21610

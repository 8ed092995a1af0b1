"""The simulated provider, in this process: what it demands, what it writes down, what it says afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
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

from ops.audit.provider_record import Call
from ops.deployment.seed import SEEDS, read
from ops.simulator.app import create_app
from ops.simulator.catalogue import TEMPLATES_VARIABLE, templates
from ops.simulator.common.limits import NumberRate, PairRate
from ops.simulator.common.record import Record
from ops.simulator.send import Provider
from ops.simulator.webhooks import Webhooks
from pipeline.errors import CannotStart
from sinks.postgres.catalogue.campaigns import CampaignDraft

TOKEN = "token"
SECRET = b"secret"
NUMBER = "551100000001"
PATH = f"/v23.0/{NUMBER}/messages"


class Edge:
    """Takes webhooks; refuses the first `refusals` of them."""

    def __init__(self) -> None:
        self.refusals = 0
        self.values: list[dict[str, Any]] = []
        edge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
                if edge.refusals > 0:
                    edge.refusals -= 1
                    status = 503
                else:
                    status = 200 if self.headers["X-Hub-Signature-256"] == signature else 401
                    changes = [c for entry in json.loads(body)["entry"] for c in entry["changes"]]
                    edge.values += [change["value"] for change in changes]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhooks/meta-cloud"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def statuses(self) -> list[dict[str, Any]]:
        return [status for value in self.values for status in value.get("statuses", [])]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def edge() -> Iterator[Edge]:
    made = Edge()
    yield made
    made.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Simulator:
    def __init__(self, folder: Path, edge: Edge) -> None:
        self.clock = Clock()
        rng = random.Random(1)
        self.webhooks = Webhooks(edge.url, SECRET, rng, time.monotonic)
        self.record = Record(folder / "calls.jsonl")
        self.provider = Provider(
            TOKEN, self.record, self.webhooks, rng, self.clock, self.clock, templates=templates({})
        )
        # Its tests of broken connections need a real server: they are the sender's.
        self.http = TestClient(create_app(self.provider))

    def send(self, body: object, token: str = TOKEN, path: str = PATH) -> tuple[int, dict[str, Any]]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.http.post(path, content=content, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json()

    def hear(self, sender: str, number: str = NUMBER) -> None:
        """The person writes to the number."""
        given = {"number": number, "sender": sender, "text": "oi"}
        assert self.http.post("/simulator/inbound", json=given).status_code == 202

    def wait_for_webhooks(self, count: int) -> None:
        for _ in range(1000):
            found = self.http.get("/simulator/counts").json()["webhooks"]
            if found["pending"] == 0 and found["posted"] >= count:
                return
            self.http.portal.call(asyncio.sleep, 0.02)  # type: ignore[union-attr]
        raise AssertionError(found)


@pytest.fixture
def simulator(tmp_path: Path, edge: Edge) -> Iterator[Simulator]:
    made = Simulator(tmp_path, edge)
    with made.http:
        yield made


def text(to: str = "5511987654321", body: str = "hello", **more: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": body}, **more}


def thanks(to: str = "5511987654321", **more: Any) -> dict[str, Any]:
    """To anybody: a template."""
    return {**template(name="obrigado"), "to": to, **more}


def template(*parameters: str, name: str = "welcome", language: str = "pt_BR") -> dict[str, Any]:
    components = [{"type": "body", "parameters": [{"type": "text", "text": each} for each in parameters]}]
    part = {"name": name, "language": {"code": language}, "components": components}
    return {"messaging_product": "whatsapp", "to": "5511987654321", "type": "template", "template": part}


def image(link: str = "https://example.com/a.png", **more: str) -> dict[str, Any]:
    part = {"link": link, **more}
    return {"messaging_product": "whatsapp", "to": "5511987654321", "type": "image", "image": part}


@pytest.mark.parametrize(
    "body",
    [
        text(),
        thanks(),
        template("a", name="ola"),
        template("a", "b", name="clube_dos_12"),
        image(),
        image(caption="look"),
    ],
)
def test_a_good_message_is_accepted_with_an_id(simulator: Simulator, body: dict[str, Any]) -> None:
    simulator.hear("+5511987654321")
    status, answer = simulator.send(body)
    assert status == 200
    assert answer["contacts"] == [{"input": "5511987654321", "wa_id": "5511987654321"}]
    assert answer["messages"][0]["id"].startswith("wamid.")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no JSON", 100),
        ([], 100),
        ({**text(), "messaging_product": "sms"}, 100),
        ({**text(), "to": ""}, 131008),
        ({**text(), "to": "call me"}, 131009),
        ({**text(), "type": "hologram"}, 100),
        ({**text(), "text": None}, 131008),
        (text(body=" "), 131008),
        (text(body="x" * 4097), 100),
        (text(biz_opaque_callback_data="x" * 513), 100),
        (image(link="file:///x"), 131009),
        (image(caption=" "), 131009),
        (template(name=""), 131008),
        (template(language=""), 131008),
        (template(" "), 131008),
        (template("a\nb"), 132012),
        (template("a     b"), 132012),
        (template("only one", name="two"), 132000),
        (template(name="two", language="en"), 132001),
        (template(name="nobody_made_it"), 132001),
        (template(name="em_analise"), 132001),
        (text(), 131047),
        (image(), 131047),
    ],
)
def test_a_bad_message_is_refused_with_the_providers_code(
    simulator: Simulator, body: object, code: int
) -> None:
    simulator.http.post("/simulator/templates", json={"name": "two", "language": "pt_BR", "parameters": 2})
    status, answer = simulator.send(body)
    assert answer["error"]["code"] == code
    assert status == (404 if code == 132001 else 400)
    assert [call.wamid for call in calls_of(simulator)] == [None]


def calls_of(simulator: Simulator) -> list[Call]:
    return msgspec.convert(simulator.http.get("/simulator/calls").json(), list[Call])


def test_a_wrong_token_is_refused_and_written_down(simulator: Simulator) -> None:
    status, answer = simulator.send(thanks(), token="stolen")
    assert (status, answer["error"]["code"]) == (401, 190)
    assert [call.code for call in calls_of(simulator)] == [190]


def test_the_eighty_first_message_of_a_second_is_refused_and_the_next_second_is_free(
    simulator: Simulator,
) -> None:
    answers = [simulator.send(thanks(to=f"55119{position:08d}"))[0] for position in range(81)]
    assert answers == [200] * 80 + [400]
    assert calls_of(simulator)[-1].code == 130429
    simulator.clock.now += 1.0
    assert simulator.send(thanks())[0] == 200


def test_a_pair_borrows_forty_five_and_pays_one_back_each_six_seconds(simulator: Simulator) -> None:
    answers = [simulator.send(thanks())[0] for _ in range(46)]
    assert answers == [200] * 45 + [400]
    assert calls_of(simulator)[-1].code == 131056
    assert simulator.send(thanks(to="5511000000000"))[0] == 200
    simulator.clock.now += 6.0
    assert simulator.send(thanks())[0] == 200
    assert simulator.send(thanks())[0] == 400


def test_a_person_who_wrote_to_a_number_may_get_free_text_from_it_for_a_day(simulator: Simulator) -> None:
    other = f"/v23.0/{int(NUMBER) + 1}/messages"
    assert simulator.send(text())[1]["error"]["code"] == 131047
    simulator.hear("+5511987654321")
    assert [simulator.send(body)[0] for body in (text(), image())] == [200, 200]
    assert simulator.send(text(), path=other)[1]["error"]["code"] == 131047
    assert simulator.send(text(to="5511000000000"))[1]["error"]["code"] == 131047
    simulator.clock.now += 86_399.0
    assert simulator.send(text())[0] == 200
    simulator.clock.now += 1.0
    assert simulator.send(text())[1]["error"]["code"] == 131047
    assert simulator.send(thanks())[0] == 200


def test_a_portfolio_writes_to_so_many_people_a_day_from_all_its_numbers_together(
    simulator: Simulator,
) -> None:
    simulator.http.patch("/simulator/behaviour", json={"portfolio_people_max": 250})
    paths = [f"/v23.0/{int(NUMBER) + position}/messages" for position in range(2)]
    people = [f"55119{position:08d}" for position in range(251)]

    def send(position: int) -> tuple[int, dict[str, Any]]:
        simulator.clock.now += 0.1
        return simulator.send(thanks(to=people[position]), path=paths[position % 2])

    assert [send(position)[0] for position in range(250)] == [200] * 250
    assert send(250)[1]["error"]["code"] == 131048
    assert send(7)[0] == 200  # not one more person
    simulator.hear(people[250])
    assert send(250)[0] == 200  # whose window is open does not count
    simulator.clock.now += 86_400.0 - 26.0
    assert [send(position)[0] for position in (249, 250)] == [200, 200]  # the first have left the 24 hours


def test_the_demo_sends_approved_templates_only() -> None:
    approved = templates({})
    for campaign in read(SEEDS / "campaigns.yaml", list[CampaignDraft]):
        message = campaign.message
        known = approved[str(message.template), str(message.language)]
        assert known.approved
        assert known.parameters == len(message.variables)


def test_a_file_of_templates_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "templates.yaml"
    file.write_text("- {name: ola}")
    with pytest.raises(CannotStart, match=r"templates.yaml cannot be read"):
        templates({TEMPLATES_VARIABLE: str(file)})


def test_limits_are_per_number_and_forget_who_is_long_gone() -> None:
    rate = NumberRate()
    assert rate.admit("a", 0.0, 1)
    assert rate.admit("b", 0.0, 1)
    assert not rate.admit("a", 0.999, 1)
    assert rate.admit("a", 1.0, 1)
    pairs = PairRate(pairs_max=2)
    assert all(pairs.admit("a", str(to), 0.0, 6.0, 1) for to in range(10))


def test_a_call_is_in_the_record_with_its_attempt_and_the_record_outlives_the_process(
    simulator: Simulator, tmp_path: Path, edge: Edge
) -> None:
    simulator.send(thanks(biz_opaque_callback_data="attempt-1"))
    first = calls_of(simulator)[0]
    assert (first.number, first.to, first.attempt_id, first.status) == (
        NUMBER,
        "5511987654321",
        "attempt-1",
        200,
    )
    with (tmp_path / "calls.jsonl").open("ab") as file:
        file.write(b'{"at":1,"number":"55')  # the machine went down in the middle of a line
    again = Simulator(tmp_path, edge)
    with again.http:
        again.send(thanks())
        ids = [call.wamid for call in calls_of(again)]
        assert ids[0] == first.wamid
        assert len(set(ids)) == 2
        assert len(again.http.get("/simulator/calls?since=1").json()) == 1
        assert again.http.get("/simulator/counts").json()["taken"] == 2


def test_pages_of_the_record_begin_where_they_are_asked_to(tmp_path: Path) -> None:
    record = Record(tmp_path / "calls.jsonl")
    for position in range(2500):
        record.append(Call(float(position), NUMBER, "1"))
    for since in (0, 1, 999, 1000, 1001, 2499):
        assert json.loads(next(iter(record.page(since))))["at"] == since
    assert list(record.page(2500)) == []
    assert len(list(record.page(2490, 5))) == 5


def test_what_was_taken_is_told_signed_in_statuses_that_carry_the_attempt(
    simulator: Simulator, edge: Edge
) -> None:
    simulator.http.patch(
        "/simulator/behaviour",
        json={"sent_delay_s": 0, "delivered_delay_s": 0.01, "read_delay_s": 0.02, "read_ratio": 1.0}
        | {"delivered_skipped_ratio": 0.0, "duplicate_ratio": 1.0},
    )
    edge.refusals = 1
    _, answer = simulator.send(thanks(biz_opaque_callback_data="attempt-1"))
    simulator.wait_for_webhooks(1)
    statuses = edge.statuses()
    said = [status["status"] for status in statuses]
    assert {status: said.count(status) for status in said} == {"sent": 2, "delivered": 2, "read": 2}
    assert {status["id"] for status in statuses} == {answer["messages"][0]["id"]}
    assert {status["biz_opaque_callback_data"] for status in statuses} == {"attempt-1"}
    assert {status["recipient_id"] for status in statuses} == {"5511987654321"}


def test_a_rule_hits_whom_it_names_after_those_it_lets_pass_and_as_often_as_it_says(
    simulator: Simulator,
) -> None:
    rule = {"do": "error", "code": 131026, "to": "5511987654321", "skip": 1, "count": 2}
    simulator.http.post("/simulator/rules", json=rule)
    answers = [simulator.send(thanks())[0] for _ in range(4)]
    assert answers == [200, 400, 400, 200]
    assert simulator.send(thanks(to="5511000000000"))[0] == 200
    assert simulator.http.get("/simulator/rules").json()[0]["seen"] == 3
    assert [call.rule for call in calls_of(simulator)] == [None, "error", "error", None, None]


def test_a_rule_may_refuse_what_it_takes_and_fail_it_later(simulator: Simulator, edge: Edge) -> None:
    simulator.http.post(
        "/simulator/rules",
        json={"do": "error", "code": 131000, "taken": True, "statuses": ["failed"], "retry_after_min": 2},
    )
    answer = simulator.http.post(PATH, json=thanks(), headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 500
    assert "estimated_time_to_regain_access" in answer.headers["x-business-use-case-usage"]
    simulator.wait_for_webhooks(1)
    (call,) = calls_of(simulator)
    assert call.wamid is not None
    assert edge.statuses()[0]["errors"][0]["code"] == 131000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/simulator/rules", {"do": "explode"}),
        ("/simulator/rules", {"do": "error", "unknown": 1}),
        ("/simulator/inbound", {"number": 1}),
    ],
)
def test_a_command_that_cannot_be_read_says_why(simulator: Simulator, path: str, body: Any) -> None:
    answer = simulator.http.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_person_can_write_stop_to_a_number(simulator: Simulator, edge: Edge) -> None:
    simulator.http.post(
        "/simulator/inbound", json={"number": NUMBER, "sender": "+5511987654321", "text": "STOP"}
    )
    simulator.http.post(
        "/simulator/inbound", json={"number": NUMBER, "sender": "5511987654321", "preference": "stop"}
    )
    simulator.wait_for_webhooks(1)
    messages = [one for value in edge.values for one in value.get("messages", [])]
    preferences = [one for value in edge.values for one in value.get("user_preferences", [])]
    assert [(one["from"], one["text"]["body"]) for one in messages] == [("5511987654321", "STOP")]
    assert preferences == [{"wa_id": "5511987654321", "category": "marketing_messages", "value": "stop"}]


def test_it_shows_health_and_numbers(simulator: Simulator) -> None:
    simulator.send(thanks())
    assert simulator.http.get("/health/ready").json()["ready"] is True
    metrics = simulator.http.get("/metrics").text
    assert 'quizstream_simulator_calls_total{answer="200"} 1.0' in metrics

"""From a page to a phone: what strangers type, and a quiz that changes while a page of it is open."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sinks.delivery.rows import NEXT_WITH_FALLBACKS
from tests.support.quizzes import make_quiz_of
from tests.support.running_pipeline import Pipeline, until

pytestmark = pytest.mark.xdist_group("acceptance")

TENANT = "demo-personalidade"
CAMPAIGN = {
    "campaign_id": "textos-livres",
    "tenant_id": TENANT,
    "name": "Textos livres",
    "quiz_ids": ["textos"],
    "message": {
        "kind": "template",
        "template": "textos_livres",
        "variables": [
            {"name": "nome", "source": "contact.name", "fallback": "você"},
            {"name": "motivo", "source": "answers.motivo", "fallback": "nada"},
            {
                "name": "site",
                "source": "answers.site",
                "fallback": "-",
                "links_allowed": True,
                "chars_max": 2000,
            },
        ],
    },
}
# Name, reason and site as posted; as sent.
POSTED = {
    ("Ana", "gosto", "acme.example"): ("Ana", "gosto", "acme.example"),
    ("Ana https://evil.example/pix", "veja\n\nevil.com", ""): ("Ana", "veja", "-"),
    ("evil.com", "ligue: wa.me/5511999999999", "https://acme.example"): (
        "você",
        "ligue:",
        "https://acme.example",
    ),
    ("\ufe0f\u0301", "\u0301", "\ufe0f"): ("você", "nada", "-"),
    ("A" * 101, "m" * 101, "s" * 1025): ("você", "nada", "-"),
    ("J.Silva", "m" * 100, "s" * 1024): ("J. Silva", "m" * 100, "s" * 1024),
}


def request(url: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method), timeout=60
        ) as response:
            return response.status, json.loads(response.read() or "null")
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def saved(pipeline: Pipeline, folder: Path, verb: str, content: dict[str, Any]) -> tuple[int, str]:
    path = folder / f"{verb}.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    done = pipeline.quizstream(verb, {"quiz": "add", "campaign": "save"}[verb], str(path))
    return done.returncode, done.stderr


def quiz(*questions: str) -> dict[str, Any]:
    listed = [{"question_id": question} for question in questions]
    return {"quiz_id": "textos", "tenant_id": TENANT, "title": "Textos", "questions": listed}


def test_what_strangers_type_and_a_question_that_is_removed_while_a_page_is_open(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    settings = pipeline.found.settings
    url = f"{settings.edge_url}/quiz/textos/completions"
    template = {"name": "textos_livres", "language": "pt_BR", "parameters": 3}
    assert request(f"{settings.simulator_url}/simulator/templates", template)[0] == 200
    assert saved(pipeline, tmp_path, "quiz", quiz("motivo", "site", "cor")) == (0, "")
    assert saved(pipeline, tmp_path, "campaign", CAMPAIGN) == (0, "")

    # Removed is what no campaign names; what one names stays, and the operator reads which.
    code, reason = saved(pipeline, tmp_path, "quiz", quiz("motivo", "cor"))
    assert code == 2
    assert "textos-livres" in reason
    assert 'no question "site"' in reason
    assert saved(pipeline, tmp_path, "quiz", quiz("motivo", "site")) == (0, "")
    shown = pipeline.quizstream("quiz", "show", "textos").stdout
    assert "former questions, whose answers are still accepted: cor" in shown
    until(lambda: request(url, {"answers": {"tom": "x"}})[1].get("type", "").endswith("unknown-question"),
          "the edge to know the quiz")  # fmt: skip
    until(lambda: in_force(pipeline), "the campaign to be in force")

    phones = {}
    for number, ((name, why, site), _) in enumerate(POSTED.items()):
        contact = {"phone": f"+55119876530{number:02}", "name": name}
        answers = {"motivo": why, "site": site, "cor": "azul"}
        status, answer = request(url, {"contact": contact, "answers": answers})
        assert status == 202, answer
        phones[contact["phone"].removeprefix("+")] = (name, why, site)
    report = pipeline.settled()

    assert report.ok, report.breaches
    sent = {
        message["request"]["to"].removeprefix("+"): tuple(
            one["text"] for one in message["request"]["template"]["components"][0]["parameters"]
        )
        for message in request(f"{settings.simulator_url}/simulator/messages")[1]
        if message["request"].get("template", {}).get("name") == "textos_livres"
    }
    assert sent == {phone: POSTED[posted] for phone, posted in phones.items()}
    colours = "SELECT DISTINCT answers ->> 'cor', quiz_version FROM completions WHERE quiz_id = 'textos'"
    assert pipeline.rows(colours) == [("azul", 2)]


RULES = [
    {"do": "error", "code": 132005, "status": 400, "containing": "Recusada Ana"},
    {"do": "error", "code": 131009, "status": 400, "to": "5511987653302"},
    {"do": "answer", "statuses": ["failed"], "code": 131053, "containing": "Falha Davi"},
]
PEOPLE = {
    "5511987653300": "Recusada Ana",
    "5511987653301": "Bia",
    "5511987653302": "Caio",
    "5511987653303": "Falha Davi",
}
# Of each call that the provider accepted: the name in the message.
NAMES = {
    "5511987653300": ["você"],
    "5511987653301": ["Bia"],
    "5511987653303": ["Falha Davi", "você"],  # the first one failed, as the provider reported
}


def test_a_name_that_the_provider_rejects_gives_way_to_the_fallback(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """In the answer to the call, and by webhook after it was accepted; nobody is called a third time."""
    settings = pipeline.found.settings
    simulator = f"{settings.simulator_url}/simulator"
    variable = {"name": "nome", "source": "contact.name", "fallback": "você"}
    message = {"kind": "template", "template": "ola", "language": "pt_BR", "variables": [variable]}
    make_quiz_of(pipeline, tmp_path, "recusados", message=message)
    before = len(pipeline.calls())
    try:
        for rule in RULES:
            assert request(f"{simulator}/rules", rule)[0] < 300
        for phone, name in PEOPLE.items():
            posted = {"contact": {"phone": f"+{phone}", "name": name}, "answers": {"quer": "sim"}}
            assert request(f"{settings.edge_url}/quiz/recusados/completions", posted)[0] == 202
        until(lambda: ended(pipeline).get("5511987653302") == "failed", "the second rejection")
        until(lambda: ended(pipeline).get("5511987653303") == "waiting", "the failure by webhook")
        due_now = "UPDATE deliveries SET due_at = now() WHERE campaign_id = 'recusados-campanha'"
        with psycopg.connect(settings.database_url) as connection:  # a failure by webhook waits a minute
            connection.execute(f"{due_now} AND state = 'waiting'")
        report = pipeline.settled()
    finally:
        assert request(f"{simulator}/rules", method="DELETE")[0] < 300

    assert report.ok, report.breaches
    assert {phone for phone, state in ended(pipeline).items() if state == "failed"} == {"5511987653302"}
    calls = Counter(call["to"] for call in pipeline.calls()[before:] if call["to"] in PEOPLE)
    assert calls == {phone: 1 if phone == "5511987653301" else 2 for phone in PEOPLE}
    names: dict[str, list[str]] = {}
    for one in request(f"{simulator}/messages")[1]:
        to = one["request"]["to"].removeprefix("+")
        if to in PEOPLE:
            (body,) = one["request"]["template"]["components"]
            names.setdefault(to, []).extend(parameter["text"] for parameter in body["parameters"])
    assert names == NAMES
    for (delivery,) in pipeline.rows(
        "SELECT delivery_id::text FROM deliveries WHERE campaign_id = 'recusados-campanha' AND with_fallbacks"
    ):
        explained = pipeline.quizstream("explain", delivery).stdout
        assert NEXT_WITH_FALLBACKS in explained
        assert not any(name in explained for name in PEOPLE.values())


def ended(pipeline: Pipeline) -> dict[str, str]:
    """The state of each person's delivery of the test above."""
    query = (
        "SELECT ltrim(phone, '+'), state FROM deliveries JOIN contacts USING (tenant_id, contact_id)"
        " WHERE campaign_id = 'recusados-campanha'"
    )
    return dict(pipeline.rows(query))


def in_force(pipeline: Pipeline) -> bool:
    query = "SELECT effective_at < now() FROM campaign_versions WHERE campaign_id = 'textos-livres'"
    return bool(pipeline.value(query))

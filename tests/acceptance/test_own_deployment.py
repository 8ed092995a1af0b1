"""An empty deployment becomes somebody's by commands alone, and every doubt is decided by commands."""

from __future__ import annotations

import json
import re
import secrets
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.embedded.stack import ServerUrls
from pipeline.runtime.settings import Settings
from tests.support.running_pipeline import Pipeline, running_pipeline, until
from tests.support.second_simulator import SecondSimulator, second_simulator

pytestmark = pytest.mark.xdist_group("acceptance")

# Short enough for a test to see calls end; nothing is asserted about how long anything takes.
FAST_SENDER = {"call_timeout_s": 2, "retry_base_s": 0.1, "retry_max_s": 0.2}
TOKEN = "token-of-acme"
NUMBER = "551150030001"
QUIZ = """
quiz_id: pesquisa
tenant_id: acme
title: Pesquisa
questions: [{question_id: cor, text: 'Que cor?'}]
"""
CAMPAIGN = """
campaign_id: obrigado
tenant_id: acme
name: Obrigado
quiz_ids: [pesquisa]
message: {kind: template, template: obrigado, language: pt_BR}
"""
ANA, BIA, CAIO, DUDA, EVA, FABIO = (f"+551198765000{n}" for n in range(1, 7))


@pytest.fixture
def own(stack: ServerUrls, tmp_path: Path) -> Iterator[Pipeline]:
    """A deployment without demo data, whose sender has the secret of a provider."""
    topology = yaml.safe_load(Settings.from_env({}).topology_file.read_text())
    topology["sender"] |= FAST_SENDER
    for topic in topology["topics"].values():
        topic["partitions"] = 1
    file = tmp_path / "topology.yaml"
    file.write_text(yaml.safe_dump(topology))
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    env = {"ACME_TOKEN": TOKEN, "QUIZSTREAM_TOPOLOGY": str(file), "QUIZSTREAM_ACTOR": "ana"}
    with running_pipeline(stack, home, f"o{secrets.token_hex(4)}.", env, demo=False) as running:
        yield running


@pytest.fixture
def provider(own: Pipeline, tmp_path: Path) -> Iterator[SecondSimulator]:
    with second_simulator(own.env, tmp_path / "provider", TOKEN) as running:
        yield running


def done(pipeline: Pipeline, *arguments: str, status: int = 0) -> str:
    ended = pipeline.quizstream(*arguments)
    assert ended.returncode == status, (arguments, ended.stdout, ended.stderr)
    return ended.stdout if status != 2 else ended.stderr


def listed(pipeline: Pipeline, *options: str) -> dict[str, dict[str, Any]]:
    """Phone -> its delivery."""
    items = json.loads(done(pipeline, "deliveries", "list", *options, "--json"))["items"]
    phones = dict(pipeline.rows("SELECT contact_id, phone FROM contacts"))
    return {phones[item["contact_id"]]: item for item in items}


def answer(pipeline: Pipeline, token: str, phone: str) -> None:
    """Posts a completion, once the edge knows quiz and token."""
    body = json.dumps({"contact": {"phone": phone}, "answers": {"cor": "azul"}}).encode()
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": f"key of {phone}",
        "Authorization": f"Bearer {token}",
    }
    url = f"{pipeline.found.settings.edge_url}/quiz/pesquisa/completions"
    until(partial(accepted, urllib.request.Request(url, body, headers)), "the edge accepts it")


def accepted(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status) == 202
    except urllib.error.HTTPError as error:
        if error.code in (401, 404):
            return False
        raise


def states(pipeline: Pipeline) -> dict[str, str]:
    rows = pipeline.rows("SELECT phone, state FROM deliveries JOIN contacts USING (tenant_id, contact_id)")
    return {phone: "sent" if state in ("delivered", "read") else state for phone, state in rows}


def at_rest(pipeline: Pipeline, **expected: str) -> None:
    wanted = {globals()[name]: state for name, state in expected.items()}
    until(lambda: states(pipeline) == wanted, f"states {wanted}", 90)


def founded(pipeline: Pipeline, provider: SecondSimulator, folder: Path) -> str:
    """Makes tenant, number, quiz and campaign by commands; returns a service token."""
    for table in ("tenants", "quizzes", "campaigns", "sender_numbers", "tokens"):
        assert pipeline.value(f"SELECT count(*) FROM {table}") == 0, table
    (folder / "quiz.yaml").write_text(QUIZ)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    done(pipeline, "tenant", "add", "acme", "--name", "Acme Ltda")
    done(pipeline, "tenant", "limits", "acme", "tenant_day=50000", "quiz=900")
    limits = json.loads(done(pipeline, "tenant", "limits", "acme", "quiz=default", "--json"))
    assert limits == {"tenant_id": "acme", "limits": {"tenant_day": 50000}}
    assert "tenant_day=50000" in done(pipeline, "tenant", "list")
    done(pipeline, "quiz", "add", str(folder / "quiz.yaml"))
    done(
        *(pipeline, "number", "add", NUMBER, "--tenant", "acme", "--provider", "meta-cloud"),
        *("--base-url", provider.url, "--credential", "ACME_TOKEN", "--messages-per-s", "20"),
    )
    done(pipeline, "suppression", "add", FABIO, "--tenant", "acme", "--reason", "asked for by letter")
    token = done(pipeline, "token", "create", "--tenant", "acme").strip()
    saved = json.loads(done(pipeline, "campaign", "save", str(folder / "campaign.yaml"), "--json"))
    in_force = "SELECT extract(epoch FROM now()) * 1000 > %s + 200"
    until(lambda: pipeline.value(in_force, saved[0]["effective_at"]), "the campaign is in force")
    return token


def test_an_own_deployment_sends_and_every_doubt_is_decided_by_commands(
    own: Pipeline, provider: SecondSimulator, tmp_path: Path
) -> None:
    token = founded(own, provider, tmp_path)
    to = {phone: phone.removeprefix("+") for phone in (ANA, BIA, CAIO, DUDA, EVA)}
    provider.rule("hang", to=to[BIA])  # never answered, and nothing is sent
    provider.rule("hang", to=to[CAIO], taken=True, statuses=[])  # sent, and nothing says so
    provider.rule("error", to=to[DUDA], code=131057)  # refused as often as it is tried
    provider.rule("error", to=to[EVA], code=131026)  # refused for good

    for phone in (ANA, BIA, CAIO, DUDA, EVA, FABIO):
        answer(own, token, phone)

    at_rest(own, ANA="sent", BIA="ambiguous", CAIO="ambiguous", DUDA="dead", EVA="failed", FABIO="suppressed")
    waiting = listed(own)
    assert {phone: item["state"] for phone, item in waiting.items()} == {
        BIA: "ambiguous",
        CAIO: "ambiguous",
        DUDA: "dead",
    }
    assert set(listed(own, "--state", "failed", "--campaign", "obrigado")) == {EVA}
    assert "More follows: --after" in done(own, "deliveries", "list", "--limit", "2")
    held = json.loads(done(own, "reconcile", "--wait", "60", "--json"))
    assert (held["ok"], held["ambiguous"], held["unrecorded"]) == (True, 2, 5)

    ids = {phone: item["delivery_id"] for phone, item in {**waiting, **listed(own, "--state", "all")}.items()}
    shown = done(own, "deliveries", "show", ids[DUDA])
    assert shown.count("\ncall ") == 3
    assert "131057" in shown
    assert re.search(r"event .* dead: 3 attempts", shown)
    assert DUDA not in shown
    resolve_and_redrive(own, provider, ids)

    at_rest(own, ANA="sent", BIA="sent", CAIO="sent", DUDA="sent", EVA="sent", FABIO="suppressed")
    assert listed(own) == {}
    messages = Counter(call["to"] for call in provider.calls() if call["wamid"] is not None)
    assert messages == dict.fromkeys(to.values(), 1)
    for options in ((), ("--record", provider.url)):
        done(own, "reconcile", "--wait", "60", *options)
    assert own.calls() == []
    log = json.loads(done(own, "audit-log", "--json"))["items"]
    assert {entry["actor"] for entry in log} == {"ana"}
    assert Counter(entry["action"] for entry in log) == {
        **dict.fromkeys(("tenant.add", "quiz.add", "number.add", "suppression.add", "token.create"), 1),
        **dict.fromkeys(("campaign.save", "delivery.redrive", "campaign.redrive"), 1),
        "delivery.resolve": 2,
        "tenant.limits": 2,
    }


def resolve_and_redrive(own: Pipeline, provider: SecondSimulator, ids: dict[str, str]) -> None:
    """The operator looks at the provider, decides what is in doubt, removes the cause, sends the rest."""
    (message,) = [call["wamid"] for call in provider.calls() if call["to"] == CAIO.removeprefix("+")]
    done(
        *(own, "deliveries", "resolve", ids[CAIO], "--as", "sent", "--reason", "in the provider's log"),
        *("--message-id", message),
    )
    not_sent = ("deliveries", "resolve", ids[BIA], "--as", "not-sent", "--reason", "not in its log")
    assert "Look at the provider first" in done(own, *not_sent, status=2)
    done(own, *not_sent, "--checked-at-provider")
    assert "only an ambiguous one" in done(own, *not_sent, "--checked-at-provider", status=2)
    assert "1 left: it is sent" in done(own, "deliveries", "redrive", ids[CAIO], status=1)
    provider.command("DELETE", "rules")
    done(own, "deliveries", "redrive", ids[BIA], "--reason", "the provider is back")
    assert "2 deliveries would be redriven" in done(
        own, "deliveries", "redrive", "--campaign", "obrigado", "--dry-run"
    )
    assert "2 deliveries redriven" in done(own, "deliveries", "redrive", "--campaign", "obrigado")

"""The webhook key of a session number on the running product: made by command, rotated without a restart."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.support.running_pipeline import Pipeline, until

pytestmark = pytest.mark.xdist_group("acceptance")

NUMBERS = {"551150017001": "keys-one", "551150017002": "keys-two"}
PERSON = "5511987650177"


def address_of(pipeline: Pipeline, number: str, *options: str) -> str:
    done = pipeline.quizstream("number", "webhook", number, "--rotate", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def post(url: str, told: Any) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(told).encode())) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def stop(number: str) -> dict[str, Any]:
    message = {
        "chatid": f"{PERSON}@s.whatsapp.net",
        "text": "SAIR",
        "messageid": f"A{number}",
        "owner": number,
    }
    return {"EventType": "messages", "owner": number, "message": message}


def lost(number: str) -> dict[str, Any]:
    return {
        "EventType": "connection",
        "owner": number,
        "type": "LoggedOut",
        "instance": {"status": "disconnected"},
    }


def test_a_key_is_of_its_number_alone_and_is_rotated_without_a_restart(pipeline: Pipeline) -> None:
    for number, tenant in NUMBERS.items():
        assert pipeline.quizstream("tenant", "add", tenant, "--name", tenant).returncode == 0
        added = pipeline.quizstream(
            *("number", "add", number, "--tenant", tenant, "--provider", "uazapi"),
            *("--base-url", pipeline.found.settings.simulator_url, "--credential", "NOBODYS_TOKEN"),
        )
        assert added.returncode == 0, added.stderr
        assert f"quizstream number webhook {number}" in added.stdout
    one, two = NUMBERS
    shown = pipeline.quizstream("number", "webhook", one)
    assert "no key yet" in shown.stdout
    url = address_of(pipeline, one)
    other = address_of(pipeline, two)
    until(lambda: post(url, {"EventType": "x"}) == 200, "the first key is in force")
    until(lambda: post(other, {"EventType": "x"}) == 200, "the other key is in force")
    assert url not in pipeline.quizstream("number", "webhook", one).stdout

    # With the key of the one nothing of the other can be said.
    key = url.partition("?key=")[2]
    assert post(url, stop(two)) == post(url, lost(two)) == 403
    assert post(f"{other.partition('?')[0]}?key={key}", lost(two)) == 401
    assert post(f"{other.partition('?')[0][:-1]}9?key={key}", lost(two)) == 401
    assert post(url, stop(one)) == 200
    suppressed = "SELECT tenant_id FROM suppressions WHERE tenant_id LIKE 'keys-%%' ORDER BY 1"
    until(lambda: pipeline.rows(suppressed) != [], "the opt-out is in force")
    assert pipeline.rows(suppressed) == [("keys-one",)]
    held = "SELECT number_id FROM sender_numbers WHERE state <> 'active' AND number_id LIKE '5511500170%%'"
    assert pipeline.rows(held) == []

    renewed = address_of(pipeline, one, "--overlap-min", "5")
    until(lambda: post(renewed, {"EventType": "x"}) == 200, "the second key is in force")
    assert post(url, {"EventType": "x"}) == 200
    last = address_of(pipeline, one, "--overlap-min", "0")
    until(lambda: post(last, {"EventType": "x"}) == 200, "the third key is in force")
    assert post(url, {"EventType": "x"}) == post(renewed, {"EventType": "x"}) == 401
    (audited,) = pipeline.rows(
        "SELECT count(*) FROM audit_log WHERE action = 'number.rotate-webhook-key' AND subject = %s", one
    )
    assert audited == (3,)

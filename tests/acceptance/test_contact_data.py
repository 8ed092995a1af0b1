"""A contact's data follow the newest completion, and only what it states: HTTP in, the message out."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from schemas import ids
from schemas.codec import codec
from schemas.records import Completion, Personal
from tests.support.producer import delivered, make_producer
from tests.support.quizzes import TENANT, make_quiz_of
from tests.support.running_pipeline import Pipeline

pytestmark = pytest.mark.xdist_group("acceptance")

MESSAGE = {
    "kind": "template",
    "template": "ola",
    "language": "pt_BR",
    "variables": [{"name": "nome", "source": "contact.name", "fallback": "ninguém"}],
}
YEAR_MS = 365 * ids.DAY_MS

Step = tuple[str, str | None, str | None]
"""Idempotency key, name and e-mail of one completion."""
# What a person posts, and the name and e-mail that hold afterwards.
STORIES: dict[str, tuple[list[Step], tuple[str, str | None]]] = {
    "+5547988440001": (
        [("k0", "Ana", None), ("k1", "Ana Nova", None), ("k0", "Ana", None)],
        ("Ana Nova", None),
    ),
    "+5547988440002": ([("k0", "Ana", None), ("k1", "Ana Nova", None)], ("Ana Nova", None)),
    "+5547988440003": ([("k0", "Ana", "ana@example.com"), ("k1", None, None)], ("Ana", "ana@example.com")),
    "+5547988440004": (
        [
            ("k0", "Ana", "ana@example.com"),
            ("k1", None, "nova@example.com"),
            ("k0", "Ana", "ana@example.com"),
        ],
        ("Ana", "nova@example.com"),
    ),
}


OTHER_NAME = "+5547988440002"  # who then repeats the first key with another name


def post(
    pipeline: Pipeline, quiz: str, phone: str, key: str, name: str | None, email: str | None
) -> tuple[int, dict[str, Any]]:
    """Status and answer; no campaign matches unless the quiz is `nomes-2`."""
    contact = {"phone": phone, **({"name": name} if name else {}), **({"email": email} if email else {})}
    body: dict[str, Any] = {"contact": contact, "answers": {"quer": "sim" if quiz == "nomes-2" else "não"}}
    headers = {
        "Authorization": f"Bearer {pipeline.found.settings.service_token}",
        "Content-Type": "application/json",
        "Idempotency-Key": f"{phone} {key}",
    }
    url = f"{pipeline.found.settings.edge_url}/quiz/{quiz}/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def accepted(pipeline: Pipeline, quiz: str, phone: str, *step: Any) -> str:
    """The completion id."""
    status, answer = post(pipeline, quiz, phone, *step)
    assert status == 202, answer
    return str(answer["completion_id"])


def contact_of(pipeline: Pipeline, phone: str) -> tuple[str, str | None]:
    ((name, email),) = pipeline.rows("SELECT name, email FROM contacts WHERE phone = %s", phone)
    return name, email


def names_sent(pipeline: Pipeline) -> dict[str, str]:
    """The name in the message of each person, as the provider got it."""
    url = f"{pipeline.found.settings.simulator_url}/simulator/messages"
    with urllib.request.urlopen(url) as response:
        requests = [message["request"] for message in json.load(response)]
    return {
        f"+{request['to'].removeprefix('+')}": request["template"]["components"][0]["parameters"][0]["text"]
        for request in requests
        if request.get("template", {}).get("name") == "ola"
    }


def produce(pipeline: Pipeline, phone: str, **told: Any) -> None:
    """A record of the person in the topic, as no edge would write it."""
    settings, topology = pipeline.found.settings, pipeline.found.topology
    now_ms = int(time.time() * 1000)
    contact_id = ids.contact_id(settings.contact_key, TENANT, phone)
    made: dict[str, Any] = {
        "completion_id": ids.completion_id(TENANT, told["quiz_id"], "by hand", contact_id),
        "tenant_id": TENANT,
        "quiz_version": 1,
        "contact_id": contact_id,
        "day": ids.day_of(now_ms),
        "submitted_at": now_ms,
        "accepted_at": now_ms,
        "answers": {"quer": "não"},
    }
    value = codec("completion").encode(Completion(**made | told))
    producer = make_producer(settings.kafka_bootstrap_servers)
    producer.produce(topology.topic("completions").name, value, contact_id.encode())
    delivered(producer)


def test_messages_have_what_the_newest_completion_states(pipeline: Pipeline, tmp_path: Path) -> None:
    make_quiz_of(pipeline, tmp_path, "nomes-1", "nomes-2", message=MESSAGE)
    for phone, (steps, _) in STORIES.items():
        completions = {key: set[str]() for key, _, _ in steps}
        for key, name, email in steps:
            completions[key].add(accepted(pipeline, "nomes-1", phone, key, name, email))
        assert [len(same) for same in completions.values()] == [1] * len(completions)
        if phone == OTHER_NAME:
            first = completions["k0"].pop()
    status, refusal = post(pipeline, "nomes-1", OTHER_NAME, "k0", "Eva", None)
    assert (status, refusal["type"]) == (422, "/problems/key-reused")
    # An edge that no longer remembers the key would accept it.
    personal = Personal(phone=OTHER_NAME, name="Eva")
    produce(pipeline, OTHER_NAME, quiz_id="nomes-1", completion_id=first, personal=personal)
    report = pipeline.settled()
    assert report.ok, report.breaches
    assert {phone: contact_of(pipeline, phone) for phone in STORIES} == {
        phone: after for phone, (_, after) in STORIES.items()
    }

    for phone in STORIES:
        accepted(pipeline, "nomes-2", phone, "k9", None, None)
    report = pipeline.settled()

    assert report.ok, report.breaches
    sent = names_sent(pipeline)
    assert {phone: sent[phone] for phone in STORIES} == {
        phone: name for phone, (_, (name, _)) in STORIES.items()
    }


def test_a_record_accepted_in_the_far_future_does_not_freeze_the_contact(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """The edge never writes such a time: the record comes through the topic."""
    make_quiz_of(pipeline, tmp_path, "nomes-2", message=MESSAGE)
    phone = "+5547988440005"
    ahead_ms = int(time.time() * 1000) + 10 * YEAR_MS
    personal = Personal(phone=phone, name="Ana", email="ana@example.com")
    produce(pipeline, phone, quiz_id="nomes-2", accepted_at=ahead_ms, personal=personal)
    report = pipeline.settled()
    assert report.ok, report.breaches
    assert contact_of(pipeline, phone) == ("Ana", "ana@example.com")

    accepted(pipeline, "nomes-2", phone, "k1", "Ana Nova", "nova@example.com")
    report = pipeline.settled()

    assert report.ok, report.breaches
    assert contact_of(pipeline, phone) == ("Ana Nova", "nova@example.com")
    assert names_sent(pipeline)[phone] == "Ana Nova"

"""What is sent to Evolution API, and what each of its answers proves."""

from __future__ import annotations

import json

import pytest

from pipeline.campaigns.message import Rendered
from sinks.actions import FailMessage, FailRecipient, HoldNumber, Throttle
from sinks.connection import Reply
from sinks.outcomes import Ambiguous, Rejected, Sent
from sinks.whatsapp.evolution.client import body_of, outcome_of
from sinks.whatsapp.evolution.errors import TABLE
from sinks.whatsapp.evolution.provider import PROVIDER

PHONE = "+5547989211984"
KEY = {"remoteJid": "554789211984@s.whatsapp.net", "fromMe": True, "id": "3EB0538DA65A59F6D8A251"}
ACCEPTED = {"key": KEY, "status": "PENDING", "message": {"conversation": "oi"}}


def reply(status: int, content: object, **headers: str) -> Reply:
    return Reply(status, json.dumps(content).encode(), headers)


def error(status: int, *message: object) -> Reply:
    content = {"status": status, "error": "of the status", "response": {"message": list(message)}}
    return reply(status, content)


def test_a_text_and_an_image() -> None:
    text = json.loads(body_of(PHONE, Rendered("text", text="Olá")))
    assert text == {"number": "5547989211984", "text": "Olá", "linkPreview": False}
    image = json.loads(body_of(PHONE, Rendered("image", text="Veja", image_url="https://example.com/a.png")))
    assert image == {
        "number": "5547989211984",
        "mediatype": "image",
        "media": "https://example.com/a.png",
        "caption": "Veja",
    }


@pytest.mark.parametrize("status", [200, 201])
def test_an_accepted_message(status: int) -> None:
    assert outcome_of(reply(status, ACCEPTED)) == Sent("3EB0538DA65A59F6D8A251", ("554789211984",))


@pytest.mark.parametrize(
    ("answer", "code", "action"),
    [
        (error(400, {"jid": "x", "exists": False, "number": "1"}), "not-on-whatsapp", FailRecipient()),
        (error(400, ['instance requires property "text"']), "invalid-request", FailMessage()),
        (error(404, 'The "shop" instance does not exist'), "no-instance", HoldNumber("paused")),
        (reply(401, {"response": {"message": "Unauthorized"}}), "unauthorized", HoldNumber("paused")),
        (error(403, "Forbidden"), "forbidden", HoldNumber("paused")),
        (error(429, "Too many requests"), "too-many-requests", Throttle("number")),
        (error(413, "request entity too large"), "too-large", FailMessage()),
    ],
)
def test_a_rejection_has_the_name_and_the_action_of_the_table(
    answer: Reply, code: str, action: object
) -> None:
    outcome = outcome_of(answer)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.action, outcome.listed) == (code, action, True)
    assert PROVIDER.action_of(code, None) == action


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "Error: Connection Closed"),
        error(500, "Error: Connection Closed"),
        error(500, "Unique constraint failed on the fields: (`keyId`)"),  # after the message was sent
        error(400, "Error: Timed Out"),
        error(400),
        reply(400, {"message": "a gateway's"}),
        reply(201, {**ACCEPTED, "status": "ERROR"}),
        reply(201, {"key": {"id": ""}}),
        reply(201, {"response": {"message": ['The "shop" instance does not exist']}}),
    ],
)
def test_whatever_is_not_listed_is_ambiguous_also_with_400(answer: Reply) -> None:
    assert isinstance(outcome_of(answer), Ambiguous)


@pytest.mark.parametrize("code", sorted(entry.code for entry in TABLE.entries))
def test_an_answer_that_uses_a_word_of_the_table_is_not_taken_for_its_entry(code: str) -> None:
    content = {"status": 500, "error": "Internal Server Error", "response": {"message": [code]}}
    assert isinstance(outcome_of(reply(500, content)), Ambiguous)


@pytest.mark.parametrize(
    ("answer", "hold"),
    [
        (error(500, "Error: Connection Closed"), HoldNumber("paused", until_connected=True)),
        (error(400, "Please try again later"), HoldNumber("quarantined")),
        (error(400, "Error: Timed Out"), None),
        (error(429, "please try again later"), None),
        (reply(502, {"message": "please try again later"}), None),
        (reply(503, {"response": {"message": "Please try again later"}}), None),
        (error(504, "please try again later"), None),
        (reply(500, {"status": 503, "response": {"message": "please try again later"}}), None),
        (reply(500, {"status": 500, "message": "the account is suspended"}), None),
    ],
)
def test_an_answer_without_a_proof_may_still_hold_the_number(answer: Reply, hold: object) -> None:
    outcome = outcome_of(answer)
    assert (outcome.hold if isinstance(outcome, Ambiguous) else None) == hold

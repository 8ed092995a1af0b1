"""What is sent to Twilio, and what each of its answers proves."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from pipeline.campaigns.message import Rendered
from sinks import actions
from sinks.connection import Endpoint, Lines, Reply
from sinks.messaging.sms.client import TwilioClient, outcome_of, sender_field
from sinks.messaging.sms.codes import CODES, UNLISTED
from sinks.messaging.sms.provider import PROVIDER
from sinks.outcomes import Ambiguous, Rejected, Sent
from sinks.provider import Callbacks, CredentialMissing

ACCOUNT = "AC" + "0a" * 16
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
SID = "SM" + "1b" * 16


def reply(status: int, content: object) -> Reply:
    return Reply(status, json.dumps(content).encode())


def error(status: int, code: object, message: object = "no") -> Reply:
    return reply(status, {"code": code, "message": message, "more_info": "", "status": status})


@pytest.mark.parametrize(
    ("number_id", "field"),
    [
        ("5511999990000", ("From", "+5511999990000")),
        ("+5511999990000", ("From", "+5511999990000")),
        ("27800", ("From", "27800")),
        ("Acme", ("From", "Acme")),
        ("MG" + "0" * 32, ("MessagingServiceSid", "MG" + "0" * 32)),
    ],
)
def test_the_sender_is_a_phone_a_short_code_a_name_or_a_service(
    number_id: str, field: tuple[str, str]
) -> None:
    assert sender_field(number_id) == field


@pytest.mark.parametrize(
    ("credential", "login"),
    [(f"{ACCOUNT}:secret", f"{ACCOUNT}:secret"), (f"{ACCOUNT}:SKkey:secret", "SKkey:secret")],
)
def test_the_request_is_signed_in_and_asks_for_statuses_of_the_attempt(credential: str, login: str) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        received.append(head + await reader.readexactly(size))
        body = json.dumps({"sid": SID, "status": "queued"}).encode()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            lines = Lines(Endpoint.parse(f"http://127.0.0.1:{port}"), time.monotonic, idle_max=1)
            client = TwilioClient("5511999990000", credential, lines, Callbacks("https://edge.test", b"s"))
            line, message = await lines.take(), Rendered("text", text="Olá & até")
            outcome = await client.send(
                line, "+5547989211984", message, ATTEMPT, not_after=time.monotonic() + 60, timeout_s=60
            )
            assert outcome == Sent(SID)

    asyncio.run(run())
    head, _, body = received[0].decode().partition("\r\n\r\n")
    assert head.startswith(f"POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\n")
    assert f"Authorization: Basic {b64encode(login.encode()).decode()}\r\n" in head
    assert dict(parse_qsl(body)) == {
        "To": "+5547989211984",
        "From": "+5511999990000",
        "Body": "Olá & até",
        "StatusCallback": f"https://edge.test/webhooks/twilio?attempt={ATTEMPT}",
    }


@pytest.mark.parametrize("credential", ["", ACCOUNT, f"{ACCOUNT}:", "AC1:secret", f"{ACCOUNT}:a b"])
def test_a_credential_that_cannot_be_used_is_not_shown(credential: str) -> None:
    lines = Lines(Endpoint.parse("http://127.0.0.1:1"), time.monotonic, idle_max=1)
    with pytest.raises(CredentialMissing) as caught:
        TwilioClient("55", credential, lines, Callbacks())
    assert not credential or credential not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        (error(401, 20003), actions.HoldNumber("paused", "account")),
        (error(429, 20429), actions.Throttle("account")),
        (error(400, 21211), actions.FailRecipient()),
        (error(400, 21610), actions.Suppress()),
        (error(400, 21617), actions.FailMessage()),
        (error(400, 21606), actions.HoldNumber("stopped")),
        (error(500, 21614), actions.FailRecipient()),  # the code decides, not the status
    ],
)
def test_a_listed_code_has_its_action(answer: Reply, action: actions.Action) -> None:
    outcome = outcome_of(answer)
    assert isinstance(outcome, Rejected)
    assert (outcome.action, outcome.listed) == (action, True)


def test_an_unlisted_code_fails_with_4xx_and_proves_nothing_with_5xx() -> None:
    outcome = outcome_of(error(400, 21999, "no +5547989211984"))
    assert outcome == Rejected(UNLISTED, "21999", "21999: no …", listed=False)
    assert isinstance(outcome_of(error(500, 20500)), Ambiguous)
    assert isinstance(outcome_of(error(408, 21999)), Ambiguous)


@pytest.mark.parametrize(
    "answer",
    [
        reply(201, {"sid": SID, "status": "failed"}),
        reply(201, {"sid": "XX1", "status": "queued"}),
        reply(201, {"status": "queued"}),
        error(400, "21211"),
        error(400, True),
        error(400, 21211, None),
        reply(400, {"code": 21211}),
    ],
)
def test_what_is_not_the_apis_own_form_proves_nothing(answer: Reply) -> None:
    assert isinstance(outcome_of(answer), Ambiguous)


def test_a_text_of_too_many_segments_and_other_kinds_are_found_before_the_call() -> None:
    problem_of = PROVIDER.limits.problem_of
    assert problem_of(Rendered("text", text="oi")) is None
    assert "segments" in (problem_of(Rendered("text", text="ã" * 671)) or "")
    assert "1600 characters" in (problem_of(Rendered("text", text="a" * 1601)) or "")
    assert not PROVIDER.limits.carries("image")
    assert not PROVIDER.limits.carries("template")


def test_every_code_is_documented() -> None:
    documented = Path("docs/providers.md").read_text(encoding="utf-8")
    assert [code for code in CODES if code not in documented] == []

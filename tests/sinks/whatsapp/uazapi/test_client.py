"""What is sent to UAZAPI, and what each of its answers proves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from pipeline.campaigns.message import Rendered
from sinks.actions import FailMessage, FailRecipient, HoldNumber, Throttle
from sinks.connection import Endpoint, Lines, NoReply, Reply
from sinks.outcomes import Ambiguous, Rejected, Sent
from sinks.provider import CredentialMissing
from sinks.whatsapp.uazapi.client import UazapiClient, body_of, found_in, outcome_of
from sinks.whatsapp.uazapi.errors import TABLE
from sinks.whatsapp.uazapi.provider import PROVIDER

PHONE = "+5547989211984"
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
JID = "554789211984@s.whatsapp.net"
ACCEPTED = {
    "id": "558185464605:3EB0538DA65A59F6D8A251",
    "messageid": "3EB0538DA65A59F6D8A251",
    "chatid": JID,
    "status": "Pending",
    "track_id": ATTEMPT,
    "response": {"status": "success", "message": "Message sent successfully"},
}
SENT = Sent("3EB0538DA65A59F6D8A251", ("554789211984",))

LOST = HoldNumber("paused", until_connected=True)


def reply(status: int, content: object, **headers: str) -> Reply:
    return Reply(status, json.dumps(content).encode(), headers)


def test_a_text() -> None:
    assert json.loads(body_of(PHONE, Rendered("text", text="Olá"), ATTEMPT)) == {
        "number": "5547989211984",
        "text": "Olá",
        "linkPreview": False,
        "track_source": "quizstream",
        "track_id": ATTEMPT,
        "async": False,
    }


@pytest.mark.parametrize("caption", ["Veja", None])
def test_an_image_with_and_without_a_caption(caption: str | None) -> None:
    message = Rendered("image", text=caption, image_url="https://example.com/a.png")
    body = json.loads(body_of(PHONE, message, ATTEMPT))
    assert (body["type"], body["file"], body.get("text")) == ("image", "https://example.com/a.png", caption)
    assert "linkPreview" not in body


@pytest.mark.parametrize(
    "content",
    [
        ACCEPTED,
        {**ACCEPTED, "messageid": ""},  # the API's own id has it too
        {**ACCEPTED, "message": "Message sent successfully"},
        {**ACCEPTED, "status": "", "error": ""},
    ],
)
def test_an_accepted_message(content: dict[str, object]) -> None:
    assert outcome_of(reply(200, content)) == SENT


@pytest.mark.parametrize(
    ("status", "content", "code", "action"),
    [
        (401, {"error": "Invalid token"}, "invalid-token", HoldNumber("paused")),
        (401, {"error": "Token inválido ou expirado"}, "invalid-token", HoldNumber("paused")),
        (401, {"code": 401, "message": "no instance"}, "unauthorized", HoldNumber("paused")),
        (400, {"error": "Missing number or text"}, "missing-field", FailMessage()),
        (400, {"error": "Invalid media type or file format"}, "invalid-media", FailMessage()),
        (413, {"error": "too large"}, "media-too-large", FailMessage()),
        (415, {"error": "what is this"}, "media-type", FailMessage()),
        (429, {"error": "Too many requests"}, "too-many-requests", Throttle("number")),
        (500, {"error": f"the number {JID} is not on WhatsApp"}, "not-on-whatsapp", FailRecipient()),
        (503, {"error": True, "message": "WhatsApp disconnected"}, "disconnected", LOST),
        (
            503,
            {"error": True, "message": "WhatsApp disconnected: session is not reconnectable"},
            "session-lost",
            LOST,
        ),
        (403, {"error": "server returned error 463"}, "reachout-timelock", HoldNumber("quarantined")),
        (400, {"error": "a text in no list"}, "http-400", FailRecipient("nowhere")),
    ],
)
def test_a_rejection_has_the_name_and_the_action_of_the_table(
    status: int, content: dict[str, object], code: str, action: object
) -> None:
    outcome = outcome_of(reply(status, content))
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.action) == (code, action)
    known = {each.code for each in TABLE.entries} | {each.code for each in TABLE.signals}
    assert outcome.listed == (code in known)
    assert "5547" not in outcome.detail
    # The record of the provider has the text: by it the audit judges alike.
    text = str(content["error"] if isinstance(content.get("error"), str) else content["message"])
    assert PROVIDER.action_of(text, status) == action
    assert PROVIDER.action_of(code, None) == (action if outcome.listed else None)


@pytest.mark.parametrize(
    ("text", "code", "hold"),
    [
        ("Request was blocked", "request-blocked", HoldNumber("quarantined")),
        ("the client is not logged in", "not-logged-in", LOST),
    ],
)
def test_a_signal_about_the_number_holds_it_and_proves_nothing_about_the_message(
    text: str, code: str, hold: HoldNumber
) -> None:
    """Or one recipient, whose message is rejected so, would be tried with every number, and hold them all."""
    outcome = outcome_of(reply(400, {"error": text}))
    assert isinstance(outcome, Ambiguous)
    assert (outcome.code, outcome.hold) == (code, hold)
    assert PROVIDER.action_of(text, 400) is None
    assert isinstance(outcome_of(reply(400, {"error": "the number is blocked"})), Rejected)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, {"error": "Failed to send message"}),
        (500, {"error": "Failed to upload media"}),  # that it fails before the message is an inference
        (500, {"error": f"error sending message after 2 attempts: the number {JID} is not on WhatsApp"}),
        (500, {"error": "websocket disconnected before message send returned response"}),
        (503, {"error": True, "message": "WhatsApp disconnected: try later"}),
        (502, {"message": "bad gateway"}),
        (408, {"error": "timeout"}),
        (400, {"message": "of a gateway, without the field error"}),
        (200, {}),
        (200, {"error": "Invalid token"}),
        (200, {**ACCEPTED, "error": "Invalid token"}),
        (200, {**ACCEPTED, "status": "Error"}),
        (200, {"response": {"status": "success"}}),
    ],
)
def test_whatever_is_not_listed_whole_is_ambiguous(status: int, content: dict[str, object]) -> None:
    assert isinstance(outcome_of(reply(status, content)), Ambiguous)


def test_the_provider_states_how_long_to_wait() -> None:
    outcome = outcome_of(reply(429, {"error": "slow down"}, **{"retry-after": "7"}))
    assert isinstance(outcome, Rejected)
    assert outcome.retry_after_s == 7


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"messages": [ACCEPTED], "returnedMessages": 1}, SENT),
        ([ACCEPTED], SENT),
        ({"messages": [{**ACCEPTED, "track_id": "another"}, ACCEPTED]}, SENT),
        ({"messages": [{**ACCEPTED, "track_id": "another"}]}, None),  # the filter was ignored
        ({"messages": [{**ACCEPTED, "status": "Failed"}]}, None),
        ({"messages": []}, None),
        ({"messages": "none"}, None),
        ({}, None),
        ([None, 1, "x"], None),
    ],
)
def test_what_a_query_finds(content: object, found: Sent | None) -> None:
    assert found_in(reply(200, content), ATTEMPT) == found
    assert found_in(reply(500, content), ATTEMPT) is None
    assert found_in(NoReply("lost"), ATTEMPT) is None


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (Rendered("text", text="oi {nome}"), None),
        (Rendered("text", text="oi {{name}}"), "placeholder"),
        (Rendered("image", text="{{wa_name}}", image_url="u"), "placeholder"),
        (Rendered("template", template="ola", language="pt_BR"), "kind template"),
        (Rendered("text", text="x" * 4097), "longer"),
    ],
)
def test_what_it_cannot_carry_is_found_before_the_call(message: Rendered, problem: str | None) -> None:
    found = PROVIDER.limits.problem_of(message)
    assert problem in found if problem and found else found is problem


@pytest.mark.parametrize("token", ["", "two words", "tab\tbed", "line\r\nbreak: x", "ç"])
def test_a_token_that_cannot_stand_in_a_header_is_not_shown(token: str) -> None:
    lines = Lines(Endpoint.parse("http://127.0.0.1:1"), time.monotonic, idle_max=1)
    with pytest.raises(CredentialMissing) as caught:
        UazapiClient("55", token, lines)
    assert not token or token not in str(caught.value)


def with_server(
    answer: bytes, act: Callable[[UazapiClient], Awaitable[object]], path: str = ""
) -> list[bytes]:
    """The requests that a server received; it answers all alike, or not at all."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        received.append(head + await reader.readexactly(size))
        writer.write(answer)
        await writer.drain()
        if answer:
            writer.close()
        else:
            await reader.read()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            lines = Lines(Endpoint.parse(f"http://127.0.0.1:{port}{path}"), time.monotonic, idle_max=1)
            await act(UazapiClient("55", "the-token", lines))
            lines.close()

    asyncio.run(run())
    return received


def test_the_request_has_the_token_in_its_header_and_the_path_of_the_kind() -> None:
    body = json.dumps(ACCEPTED).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def send(client: UazapiClient) -> None:
        for message in (
            Rendered("text", text="oi"),
            Rendered("image", image_url="https://example.com/a.png"),
        ):
            line = await client._lines.take()
            outcome = await client.send(
                line, PHONE, message, ATTEMPT, not_after=time.monotonic() + 60, timeout_s=60
            )
            assert outcome == SENT

    text, image = with_server(answer, send, path="/one")
    assert text.startswith(b"POST /one/send/text HTTP/1.1\r\n")
    assert image.startswith(b"POST /one/send/media HTTP/1.1\r\n")
    assert b"\r\ntoken: the-token\r\n" in text
    assert b"authorization" not in text.lower()


def test_a_query_finds_the_attempt_and_gives_up_in_time() -> None:
    body = json.dumps({"messages": [ACCEPTED]}).encode()
    found: list[object] = []

    async def look(client: UazapiClient) -> None:
        found.append(await client.find(ATTEMPT, timeout_s=60))

    (request,) = with_server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), look)
    assert request.startswith(b"POST /message/find HTTP/1.1\r\n")
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {"track_id": ATTEMPT, "limit": 5}

    async def look_briefly(client: UazapiClient) -> None:
        found.append(await client.find(ATTEMPT, timeout_s=0.05))

    with_server(b"", look_briefly)
    assert found == [SENT, None]


@pytest.mark.parametrize("code", sorted(entry.code for entry in TABLE.entries))
def test_an_answer_that_uses_a_word_of_the_table_is_not_taken_for_its_entry(code: str) -> None:
    outcome = outcome_of(reply(500, {"error": code}))
    assert isinstance(outcome, Ambiguous)


@pytest.mark.parametrize(
    ("status", "text", "hold"),
    [
        (500, "error sending message after 2 attempts: server returned error 463", HoldNumber("quarantined")),
        (500, "your account has been banned", HoldNumber("quarantined")),
        (500, "websocket not connected", LOST),
        (500, "Failed to send message", None),
        (500, "the number 5546312345678 was read", None),
    ],
)
def test_an_answer_without_a_proof_may_still_hold_the_number(
    status: int, text: str, hold: HoldNumber | None
) -> None:
    outcome = outcome_of(reply(status, {"error": text}))
    assert isinstance(outcome, Ambiguous)
    assert outcome.hold == hold

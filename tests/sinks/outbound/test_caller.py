"""No call leaves the public internet: neither by a name, nor by a redirect, nor by a spelling."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import aiohttp
import msgspec
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.topology.file import Webhooks
from sinks.outbound.caller import Answered, Caller, Unanswered
from tests.support.sinks import topology_of
from tests.support.webhook_receiver import Receiver

NOT_PUBLIC = Unanswered("its address is not one of the public internet")
LIMITS = topology_of("").webhooks
DEVELOPMENT = msgspec.structs.replace(LIMITS, development_networks=("127.0.0.1/32",), call_timeout_s=5.0)


class Names(AbstractResolver):
    """Gives each look-up of any name the next answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


def post(url: str, limits: Webhooks, names: Names | None = None, times: int = 1) -> Answered | Unanswered:
    async def run() -> Answered | Unanswered:
        caller = Caller(limits, names)
        try:
            for _ in range(times):
                answer = await caller.post(url, {"content-type": "application/json"}, b"{}")
            return answer
        finally:
            await caller.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1"],
        ["93.184.215.14", "127.0.0.1"],
        ["2606:4700:4700::1111", "::ffff:10.0.0.1"],
    ],
    ids=",".join,
)
def test_a_name_with_one_address_that_is_not_public_is_not_called(addresses: list[str]) -> None:
    names = Names(addresses)
    assert post("https://hooks.example.com/", LIMITS, names) == NOT_PUBLIC
    assert names.asked == ["hooks.example.com"]


def test_a_name_that_resolves_to_another_address_the_second_time_is_resolved_once() -> None:
    """The connection goes to the address that was checked: there is no second look-up to lie to."""
    receiver = Receiver()
    try:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        answer = post(f"http://rebound.example.com:{receiver.port}/", DEVELOPMENT, names)
        assert answer == Answered(204)
        assert names.asked == ["rebound.example.com"]
        assert receiver.got[0].headers["host"] == f"rebound.example.com:{receiver.port}"
        assert post(f"http://rebound.example.com:{receiver.port}/", DEVELOPMENT, names) == NOT_PUBLIC
    finally:
        receiver.close()
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::1]:{port}/",
        "http://127.0.0.2:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://0.0.0.0:{port}/",
    ],
)
def test_another_spelling_of_loopback_is_not_called(url: str) -> None:
    """Of what development allows, 127.0.0.1 alone."""
    receiver = Receiver()
    try:
        assert isinstance(post(url.format(port=receiver.port), DEVELOPMENT), Unanswered)
    finally:
        receiver.close()
    assert receiver.got == []


def test_the_socket_itself_is_not_opened_to_an_address_that_is_not_allowed() -> None:
    """Where the URL passed, as one that was saved under other settings."""
    receiver = Receiver()

    async def run() -> None:
        caller = Caller(LIMITS)
        try:
            with pytest.raises(aiohttp.ClientConnectorError, match="not allowed"):
                await caller._session.post(receiver.url)
        finally:
            await caller.close()

    try:
        asyncio.run(run())
    finally:
        receiver.close()
    assert receiver.got == []


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    target = Receiver()
    redirecting = Receiver(lambda _: 307, f"http://127.0.0.1:{target.port}/")
    try:
        assert post(redirecting.url, DEVELOPMENT) == Answered(307)
    finally:
        target.close()
        redirecting.close()
    assert target.got == []


def test_without_the_development_setting_http_is_not_called() -> None:
    assert post("http://1.1.1.1/", LIMITS) == Unanswered("its URL must begin with https://")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer)
    try:
        await writer.drain()
        await asyncio.sleep(60)
    except (OSError, asyncio.CancelledError):
        writer.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Unanswered("no answer in time")),
        (b"HTTP/1.1 200 OK\r\n", Unanswered("no answer in time")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + b"x" * 2_000_000, Answered(200)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Answered(200)),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nnot gzip!", Answered(200)),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n", Unanswered("the call failed")),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Unanswered("the call failed")),
    ],
    ids=("silence", "half a head", "a long body", "a body without end", "not gzip", "a long head", "no HTTP"),
)
def test_no_answer_holds_a_call_for_long(answer: bytes, expected: Answered | Unanswered) -> None:
    async def run() -> Answered | Unanswered:
        server = await asyncio.start_server(lambda r, w: _serve(r, w, answer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        caller = Caller(msgspec.structs.replace(DEVELOPMENT, call_timeout_s=0.5))
        try:
            return await caller.post(f"http://127.0.0.1:{port}/", {}, b"{}")
        finally:
            await caller.close()
            server.close()

    found = asyncio.run(run())
    if isinstance(expected, Unanswered) and isinstance(found, Unanswered):
        assert found.error.startswith(expected.error)
    else:
        assert found == expected


def test_a_certificate_that_is_not_of_the_name_is_not_accepted() -> None:
    receiver = Receiver()
    try:  # plain HTTP where TLS is expected
        answer = post(f"https://127.0.0.1:{receiver.port}/", DEVELOPMENT)
    finally:
        receiver.close()
    assert isinstance(answer, Unanswered)

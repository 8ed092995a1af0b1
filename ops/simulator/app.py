"""The simulator over HTTP: the provider's one path, and the paths by which tests and operators command it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ops.simulator.catalogue import Template
from ops.simulator.common.instances import Instances
from ops.simulator.common.misbehaviour import Answer
from ops.simulator.common.numbers import BODY_BYTES_MAX, CALLS_PAGE_MAX, Behaviour
from ops.simulator.common.rules import Rule
from ops.simulator.metrics import SimulatorCollector
from ops.simulator.send import Provider
from ops.simulator.session_pairing import pairing_call
from ops.simulator.session_paths import session_call

SEND_PATH = re.compile(r"/v\d{1,3}\.\d{1,2}/(\d{1,32})/messages\Z")
TRANSPORT = "quizstream.transport"  # put into the scope by the server: how a connection is broken on purpose
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Inbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody writes to `number` (`text`), or changes a preference (`stop`, `resume`)."""

    number: str
    sender: str
    provider: str = "meta-cloud"
    text: str | None = None
    preference: str | None = None


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The session of a number is lost, or is there again."""

    number: str
    connected: bool
    provider: str = "uazapi"
    reason: str = "401: logged out from another device"


Call = Callable[[bytes], Awaitable[Answer]]


NO_INSTANCES: Mapping[str, Instances] = MappingProxyType({})


Listening = Callable[[], Awaitable[asyncio.Server]]


def create_app(
    provider: Provider, instances: Mapping[str, Instances] = NO_INSTANCES, mail: Listening | None = None
) -> ASGIApp:
    """`instances` are the providers with sessions, by name; `mail` begins to listen for e-mails."""
    control = _control(provider, instances, mail)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await control(scope, receive, send)
        elif (paired := _pairing(scope, instances)) is not None:
            await _call(provider, None, paired, scope, receive, send)
        elif scope["method"] != "POST":
            await control(scope, receive, send)
        elif (found := SEND_PATH.match(scope["path"])) is not None:
            call = partial(provider.send, found[1], _header(scope, b"authorization"))
            await _call(provider, found[1], call, scope, receive, send)
        elif (session := session_call(scope["path"], partial(_header, scope), instances)) is not None:
            await _call(provider, session.number, session.answer, scope, receive, send)
        else:
            await control(scope, receive, send)

    return app


def _pairing(scope: Scope, instances: Mapping[str, Instances]) -> Call | None:
    answer = pairing_call(scope["method"], scope["path"], partial(_header, scope), instances)
    if answer is None:
        return None

    async def call(_body: bytes) -> Answer:
        return answer

    return call


def _header(scope: Scope, name: bytes) -> str:
    return bytes(dict(scope["headers"]).get(name, b"")).decode("latin-1")


async def _call(
    provider: Provider, number: str | None, call: Call, scope: Scope, receive: Receive, send: Send
) -> None:
    """`number` None: rules do not apply."""
    if number is not None and provider.rules.decide(number, None) is not None:
        await _break(scope, receive, reset=True)
        return
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_BYTES_MAX:
            await _break(scope, receive, reset=True)
            return
    await _answer(await call(bytes(body)), scope, receive, send)


async def _answer(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    if answer.body is None:
        if answer.ending == "hang":
            await _gone(receive)
            return
        await _break(scope, receive, reset=True)
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.usage is not None:
        headers.append((b"x-business-use-case-usage", answer.usage.encode()))
    if answer.retry_after_s is not None:
        headers.append((b"retry-after", str(answer.retry_after_s).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.ending == "half":
        half = answer.body[: len(answer.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _break(scope, receive, reset=False)
        return
    await send({"type": "http.response.body", "body": answer.body})


async def _break(scope: Scope, receive: Receive, *, reset: bool) -> None:
    transport: asyncio.Transport = scope[TRANSPORT]
    if reset:
        connection = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()
    await _gone(receive)


async def _gone(receive: Receive) -> None:
    """Returns once the server has seen that the connection is over: it then expects no answer."""
    while (await receive())["type"] != "http.disconnect":
        continue


def _control(provider: Provider, instances: Mapping[str, Instances], mail: Listening | None) -> Starlette:
    registry = CollectorRegistry()
    registry.register(SimulatorCollector(provider))
    ProcessCollector(registry=registry)

    async def calls(request: Request) -> Response:
        since, limit = _whole(request, "since", 0), _whole(request, "limit", CALLS_PAGE_MAX)

        async def parts() -> AsyncIterator[bytes]:
            yield b"["
            for position, line in enumerate(provider.record.page(since, limit)):
                yield b"," + line if position else line
            yield b"]"

        return StreamingResponse(parts(), media_type="application/json")

    async def counts(_request: Request) -> Response:
        record, posters = provider.record, provider.posters
        return JSONResponse(
            {
                "calls": record.calls,
                "taken": record.taken.total(),
                "taken_by_number": dict(record.taken),
                "by_answer": dict(record.by_answer),
                "bans": {number: why for of in instances.values() for number, why in of.bans.banned.items()},
                "webhooks": {
                    "pending": sum(one.pending for one in posters),
                    "posted": sum(one.posted for one in posters),
                    "repeated": sum(one.repeated for one in posters),
                    "failed_posts": sum(one.failed_posts for one in posters),
                    "dropped": sum(one.dropped for one in posters),
                },
            }
        )

    async def rules(request: Request) -> Response:
        if request.method == "DELETE":
            provider.rules.clear()
            return Response(status_code=204)
        if request.method == "POST" and not provider.rules.add(await _read(request, Rule)):
            return JSONResponse({"error": "too many rules"}, 409)
        return JSONResponse(provider.rules.listed())

    async def behaviour(request: Request) -> Response:
        if request.method == "PATCH":
            present = msgspec.to_builtins(provider.behaviour)
            changed = await _read(request, dict[str, Any])
            unknown = sorted(set(changed) - set(present))
            if unknown:
                return JSONResponse({"error": f"unknown: {', '.join(unknown)}"}, 400)
            provider.behaviour = _convert({**present, **changed}, Behaviour)
        return JSONResponse(msgspec.to_builtins(provider.behaviour))

    async def templates(request: Request) -> Response:
        if request.method == "POST":
            template = await _read(request, Template)
            provider.templates[template.name, template.language] = template
        return JSONResponse([msgspec.to_builtins(each) for each in provider.templates.values()])

    async def inbound(request: Request) -> Response:
        given = await _read(request, Inbound)
        if (of := instances.get(given.provider)) is not None:
            message_id = of.hear(given.number, given.sender, given.text or "")
            return JSONResponse({"id": message_id}, 202)
        if given.preference is not None:
            provider.webhooks.preference(given.number, given.sender, given.preference)
        message_id = None
        if given.text is not None:
            message_id = provider.hear(given.number, given.sender, given.text)
        return JSONResponse({"id": message_id}, 202)

    async def sessions(request: Request) -> Response:
        given = await _read(request, Session)
        if (of := instances.get(given.provider)) is None:
            return JSONResponse({"error": "no such provider"}, 404)
        of.set_session(given.number, given.connected, given.reason)
        return Response(status_code=204)

    async def messages(_request: Request) -> Response:
        return JSONResponse(list(provider.last_messages))

    async def live(_request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_request: Request) -> Response:
        return JSONResponse({"ready": True, "reasons": []})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def refused(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        posting = [asyncio.create_task(one.run()) for one in provider.posters]
        listening = None if mail is None else await mail()
        yield
        if listening is not None:
            listening.close()
        for task in posting:
            task.cancel()
        await asyncio.gather(*posting, return_exceptions=True)

    return Starlette(
        routes=[
            Route("/simulator/calls", calls),
            Route("/simulator/counts", counts),
            Route("/simulator/rules", rules, methods=["GET", "POST", "DELETE"]),
            Route("/simulator/behaviour", behaviour, methods=["GET", "PATCH"]),
            Route("/simulator/templates", templates, methods=["GET", "POST"]),
            Route("/simulator/inbound", inbound, methods=["POST"]),
            Route("/simulator/messages", messages),
            Route("/simulator/sessions", sessions, methods=["POST"]),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ],
        exception_handlers={BadCommand: refused},
        lifespan=lifespan,
    )


class BadCommand(ValueError):
    """What was asked of the simulator cannot be read; the message says where."""


async def _read(request: Request, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(await request.body(), type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadCommand(str(error)) from error


def _convert(given: dict[str, Any], shape: type[Any]) -> Any:
    try:
        return msgspec.convert(given, shape)
    except msgspec.ValidationError as error:
        raise BadCommand(str(error)) from error


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdigit():
        raise BadCommand(f"{name} is a whole number")
    return int(text)

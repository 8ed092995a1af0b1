"""A handler's answer, and its translation into two ASGI messages."""

from __future__ import annotations

import msgspec
from starlette.types import Receive as Receive
from starlette.types import Scope as Scope
from starlette.types import Send as Send

Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
NO_BODY = (204, 304)


class Reply(msgspec.Struct, frozen=True):
    """An answer. `problem` is the slug of a rejection, else empty. A 204 or 304 has no body and no type."""

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: Headers = ()
    problem: str = ""


async def send_reply(send: Send, reply: Reply, more: Headers = ()) -> None:
    headers = [*reply.headers, *more]
    if reply.status not in NO_BODY:
        headers.append((b"content-type", reply.media_type))
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})

"""Reads a request's body up to its limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from ingest_api.http.problems import BODY_TIMEOUT, BODY_TOO_LARGE, NOT_JSON, rejection
from ingest_api.http.reply import Headers, Receive

BODY_TIMEOUT_S = 10.0  # for the whole body

# Many clients read the answer only after they have sent the whole body; a connection that is closed earlier
# looks broken to them, and they retry. The rest of a rejected body is therefore read and dropped, up to this
# limit (`ingest_api.http.head`).
DROPPED_BYTES_MAX = 4_194_304

_MEDIA_TYPES = (b"application/json", b"text/json", b"text/plain")
_CHARSETS = (b"utf-8", b"utf8", b"utf_8", b"us-ascii", b"ascii")

CLOSE: Headers = ((b"connection", b"close"),)


class ClientGone(Exception):
    """The client closed its connection before the body was complete; no answer is sent."""


def require_json(headers: dict[bytes, bytes]) -> None:
    """Raise Rejection if the headers declare anything other than plain JSON in UTF-8."""
    given = headers.get(b"content-type")
    if given != b"application/json" and not _declares_json(given or b""):
        raise rejection(NOT_JSON, "Content-Type must be application/json or text/plain, in UTF-8")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise rejection(NOT_JSON, "Content-Encoding is not supported")


def _declares_json(content_type: bytes) -> bool:
    """`text/plain` counts: a page that is being closed can send nothing else without asking first."""
    media_type, *parameters = content_type.lower().split(b";")
    media_type = media_type.strip()
    if media_type not in _MEDIA_TYPES and not (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    ):
        return False
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"charset" and value.strip().strip(b"\"'") not in _CHARSETS:
            return False
    return True


async def read_body(
    receive: Receive,
    headers: dict[bytes, bytes],
    bytes_max: int,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return the whole body.

    - Raises Rejection if its declared or actual length exceeds `bytes_max`, or after BODY_TIMEOUT_S:
      `ingest_api.http.head` then lets `receive` return though nothing came.
    - Raises ClientGone if the connection ends first.
    """
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared[:20]) > bytes_max:
        raise _too_large(bytes_max, () if int(declared[:20]) <= DROPPED_BYTES_MAX else CLOSE)
    began_s = clock()
    body, more = await _part(receive)
    if more:
        parts = [body]
        length = len(body)
        while more:
            if length > bytes_max:
                raise _too_large(bytes_max)
            if clock() - began_s >= BODY_TIMEOUT_S:
                raise rejection(
                    BODY_TIMEOUT, f"it was not complete after {BODY_TIMEOUT_S:g} s", headers=CLOSE
                )
            part, more = await _part(receive)
            parts.append(part)
            length += len(part)
        body = b"".join(parts)
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


def _too_large(bytes_max: int, headers: Headers = ()) -> Exception:
    return rejection(BODY_TOO_LARGE, f"at most {bytes_max} bytes are accepted", headers=headers)

"""Reads a request's body up to its limit."""

from __future__ import annotations

import asyncio

from ingest_api.http.problems import BODY_TIMEOUT, BODY_TOO_LARGE, NOT_JSON, rejection
from ingest_api.http.reply import Headers, Receive

BODY_TIMEOUT_S = 10.0  # from the first part to the last

# Many clients read the answer only after they have sent the whole body; a connection that is closed earlier
# looks broken to them, and they retry. The rest of a rejected body is therefore read and dropped, up to this
# limit (`ingest_api.http.head`).
DROPPED_BYTES_MAX = 4_194_304

CLOSE: Headers = ((b"connection", b"close"),)


class ClientGone(Exception):
    """The client closed its connection before the body was complete; no answer is sent."""


def require_json(headers: dict[bytes, bytes]) -> None:
    """Raise Rejection if the headers declare anything other than plain JSON in UTF-8."""
    given = headers.get(b"content-type")
    if given != b"application/json":
        media_type, _, parameters = (given or b"").lower().partition(b";")
        media_type = media_type.strip()
        is_json = media_type == b"application/json" or (
            media_type.startswith(b"application/") and media_type.endswith(b"+json")
        )
        charset = parameters.strip().removeprefix(b"charset=").strip(b'"')
        if not is_json or charset not in (b"", b"utf-8"):
            raise rejection(NOT_JSON, "Content-Type must be application/json, in UTF-8")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise rejection(NOT_JSON, "Content-Encoding is not supported")


async def read_body(receive: Receive, headers: dict[bytes, bytes], bytes_max: int) -> bytes:
    """Return the whole body.

    - Raises Rejection if its declared or actual length exceeds `bytes_max`, or after BODY_TIMEOUT_S.
    - Raises ClientGone if the connection ends first.
    """
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared[:20]) > bytes_max:
        raise _too_large(bytes_max, () if int(declared[:20]) <= DROPPED_BYTES_MAX else CLOSE)
    body, more = await _part(receive)
    if more:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                parts = [body]
                length = len(body)
                while more:
                    if length > bytes_max:
                        raise _too_large(bytes_max)
                    part, more = await _part(receive)
                    parts.append(part)
                    length += len(part)
        except TimeoutError:
            raise rejection(
                BODY_TIMEOUT, f"it was not complete after {BODY_TIMEOUT_S:g} s", headers=CLOSE
            ) from None
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

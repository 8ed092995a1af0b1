"""What the answers of gateways to pairing calls have in common. Pure."""

from __future__ import annotations

import base64
import binascii
import re

from sinks.outcomes import without_personal
from sinks.pairing import PairingFailed

IMAGE_BYTES_MAX = 1_048_576
DETAIL_CHARS_MAX = 200
_PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def picture_in(found: str) -> bytes:
    """Of a data URL, or of base64 alone; empty for what is no PNG."""
    match = _PICTURE.fullmatch(found.strip())
    text = match[1] if match is not None else found
    if len(text) > 2 * IMAGE_BYTES_MAX:
        return b""
    try:
        image = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return image if image.startswith(b"\x89PNG\r\n\x1a\n") else b""


def failed(http_status: int, text: str) -> PairingFailed:
    """Too many calls and failures of the API itself may pass; a rejection of the call does not."""
    shown = without_personal(text[:DETAIL_CHARS_MAX]) or "no error text"
    return PairingFailed(f"HTTP {http_status}: {shown}", again=http_status == 429 or http_status >= 500)

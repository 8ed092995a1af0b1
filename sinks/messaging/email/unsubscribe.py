"""The address with which a recipient unsubscribes: it names the attempt, and is signed. No personal data."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from pipeline.campaigns.message import LOOPBACK_HOSTS

WEBHOOK_PATH = "/webhooks/smtp"
SENDER, ATTEMPT, SIGNATURE = "n", "a", "s"


def signature_of(secret: bytes, sender: str, attempt_id: str) -> str:
    signed = f"{len(sender)}:{sender}{attempt_id}".encode()
    return hmac.new(secret, b"unsubscribe " + signed, hashlib.sha256).hexdigest()[:32]


def url_of(edge_url: str, secret: bytes, sender: str, attempt_id: str) -> str:
    signature = signature_of(secret, sender, attempt_id)
    return (
        f"{edge_url}{WEBHOOK_PATH}?{urlencode({SENDER: sender, ATTEMPT: attempt_id, SIGNATURE: signature})}"
    )


def is_signed(query: Mapping[str, str], secret: bytes) -> bool:
    wanted = signature_of(secret, query.get(SENDER, ""), query.get(ATTEMPT, ""))
    given = query.get(SIGNATURE, "").encode("utf-8", "replace")
    return bool(secret) and hmac.compare_digest(given, wanted.encode())


def is_usable(edge_url: str) -> bool:
    """RFC 8058 requires https; a test on one machine has none. It is a part of a header."""
    parts = urlsplit(edge_url)
    plain = edge_url.isascii() and edge_url.isprintable() and not set(edge_url) & set(' <>"')
    return plain and bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in LOOPBACK_HOSTS)

"""Tickets of challenges: a client that is challenged waits, and sends the same request with its ticket.

A ticket is signed, belongs to one address and quiz, is valid for a time and is used once in a process. It
needs no computation from a phone; it needs a client that reads answers and waits, as every honest one does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from pipeline.topology.file import Abuse

PARAMETER = "ticket"
TICKET_CHARS = 32
_TIME_BYTES, _NONCE_BYTES, _SIGNATURE_BYTES = 6, 6, 12
USED_MAX = 50_000
EARLY_MS = 500  # so far may the clock of the edge that issued it be ahead
QUERY_BYTES_MAX = 1_024
FIELDS_MAX = 20


@dataclass(frozen=True)
class Issued:
    ticket: str
    at_ms: int


class Tickets:
    """`now_ms` since the epoch: of all processes that share the secret."""

    def __init__(
        self,
        secret: bytes,
        limits: Abuse,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._secret = hashlib.sha256(secret).digest()
        self._wait_ms = limits.ticket_wait_s * 1000
        self._valid_ms = limits.ticket_s * 1000
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._used: dict[bytes, int] = {}

    def issue(self, address: str, quiz_id: str) -> Issued:
        now_ms = self._now_ms()
        head = now_ms.to_bytes(_TIME_BYTES) + self._random_bytes(_NONCE_BYTES)
        ticket = urlsafe_b64encode(head + self._signature(head, address, quiz_id)).decode()
        return Issued(ticket, now_ms)

    def use(self, query: bytes, address: str, quiz_id: str) -> int | None:
        """Use the ticket of a request's query; return when it was issued, in ms.

        None: there is none, it belongs to another address or quiz, it is too early or too late, or used.
        """
        head = self._head(query, address, quiz_id)
        if head is None:
            return None
        now_ms, issued_ms = self._now_ms(), int.from_bytes(head[:_TIME_BYTES])
        age_ms = now_ms - issued_ms
        if not self._wait_ms - EARLY_MS <= age_ms <= self._wait_ms + self._valid_ms or head in self._used:
            return None
        self._remember(head, now_ms)
        return issued_ms

    def _head(self, query: bytes, address: str, quiz_id: str) -> bytes | None:
        if not query or len(query) > QUERY_BYTES_MAX:
            return None
        try:
            given = parse_qs(query.decode("latin-1"), max_num_fields=FIELDS_MAX).get(PARAMETER, [""])[-1]
            if len(given) != TICKET_CHARS:
                return None
            ticket = urlsafe_b64decode(given)
        except ValueError:
            return None
        head, signature = ticket[:-_SIGNATURE_BYTES], ticket[-_SIGNATURE_BYTES:]
        expected = self._signature(head, address, quiz_id)
        return head if hmac.compare_digest(signature, expected) else None

    def _signature(self, head: bytes, address: str, quiz_id: str) -> bytes:
        signed = b"%b|%b|%b" % (head.hex().encode(), address.encode(), quiz_id.encode())
        return hashlib.blake2b(
            signed, digest_size=_SIGNATURE_BYTES, key=self._secret, person=b"ticket"
        ).digest()

    def _remember(self, head: bytes, now_ms: int) -> None:
        if len(self._used) >= USED_MAX:
            life_ms = self._wait_ms + self._valid_ms
            self._used = {one: at for one, at in self._used.items() if now_ms - at < life_ms}
            if len(self._used) >= USED_MAX:
                self._used.clear()
        self._used[head] = now_ms

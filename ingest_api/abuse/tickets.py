"""Tickets of challenges: a client that is challenged waits, and sends the same request with its ticket.

A ticket is signed, is for one quiz, is valid for a time and is used once. It names the network that it was
issued to. A few may come from other networks: a phone leaves a Wi-Fi, and IPv4 and IPv6 are two networks.
Many may not, so that one client that reads answers does not feed a botnet. A phone computes nothing for it;
it needs a client that reads answers and waits, as every honest one does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from ingest_api.abuse.used_tickets import UsedTickets
from pipeline.topology.file import Abuse

PARAMETER = "ticket"
TICKET_CHARS = 44
_TIME_BYTES, _NONCE_BYTES, _NETWORK_BYTES, _SIGNATURE_BYTES = 6, 7, 8, 12
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
        used: UsedTickets,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._secret = hashlib.sha256(secret).digest()
        self._wait_ms = limits.ticket_wait_s * 1000
        self._valid_ms = limits.ticket_s * 1000
        self._now_ms = now_ms
        self._used = used
        self._random_bytes = random_bytes

    def issue(self, network: str, quiz_id: str) -> Issued:
        now_ms = self._now_ms()
        head = now_ms.to_bytes(_TIME_BYTES) + self._random_bytes(_NONCE_BYTES) + self._named(network)
        ticket = urlsafe_b64encode(head + self._signature(head, quiz_id)).decode()
        return Issued(ticket, now_ms)

    async def use(self, query: bytes, network: str, quiz_id: str) -> int | None:
        """Use the ticket of a request's query; return when it was issued, in ms.

        None: there is none, it is for another quiz, it is too early or too late, or used, or too many of its
        network came from others.
        """
        head = self._head(query, quiz_id)
        if head is None:
            return None
        issued_ms = int.from_bytes(head[:_TIME_BYTES])
        age_ms = self._now_ms() - issued_ms
        if not self._wait_ms - EARLY_MS <= age_ms <= self._wait_ms + self._valid_ms:
            return None
        issued_to = head[-_NETWORK_BYTES:]
        moved_from = "" if issued_to == self._named(network) else issued_to.hex()
        return issued_ms if await self._used.use(head, moved_from) else None

    def _head(self, query: bytes, quiz_id: str) -> bytes | None:
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
        expected = self._signature(head, quiz_id)
        return head if hmac.compare_digest(signature, expected) else None

    def _signature(self, head: bytes, quiz_id: str) -> bytes:
        signed = b"%b|%b" % (head.hex().encode(), quiz_id.encode())
        return hashlib.blake2b(
            signed, digest_size=_SIGNATURE_BYTES, key=self._secret, person=b"ticket"
        ).digest()

    def _named(self, network: str) -> bytes:
        """Not the key that the log has: a ticket is the client's."""
        return hashlib.blake2b(
            network.encode(), digest_size=_NETWORK_BYTES, key=self._secret, person=b"issued to"
        ).digest()

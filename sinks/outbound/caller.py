"""Calls an endpoint over HTTP: to addresses that are allowed, without redirects, within limits.

The check of the address is where the connection is made, so that nothing is between them: neither a second
resolution of the name nor another spelling of an address passes it by.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.topology.file import Webhooks
from sinks.outbound.names import TENANT, SharedResolver
from sinks.postgres.catalogue.webhooks.targets import Network, allowed, networks, problem

ERROR_CHARS_MAX = 200
DRAIN_S = 1.0  # for the body of an answer, whose status is known


@dataclass(frozen=True, slots=True)
class Answered:
    status: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """`error`: one line for the tenant."""

    error: str


class NotAllowed(OSError):
    """The address is not one of the public internet."""


class CheckedResolver(AbstractResolver):
    """Resolves a name once for its connection. Raises `NotAllowed` if any address of it is not allowed."""

    def __init__(self, inner: AbstractResolver, development: Sequence[Network]) -> None:
        self._inner = inner
        self._development = development

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if any(not allowed(one["host"], self._development) for one in found):
            raise NotAllowed(errno.EACCES, "the name has an address that is not allowed")
        return found

    async def close(self) -> None:
        await self._inner.close()


class Caller:
    """Make it on the event loop; `close` it at the end. `resolver`: by default the system's."""

    def __init__(self, limits: Webhooks, resolver: AbstractResolver | None = None) -> None:
        self._limits = limits
        self._development = networks(limits.development_networks)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                resolver=CheckedResolver(
                    SharedResolver(resolver or aiohttp.ThreadedResolver(), limits.resolving_of_tenant_max),
                    self._development,
                ),
                use_dns_cache=False,
                socket_factory=self._open,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=limits.call_timeout_s, connect=limits.connect_timeout_s, sock_read=limits.call_timeout_s
            ),
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
        )

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, tenant_id: str = ""
    ) -> Answered | Unanswered:
        """Return the status of the answer, or why there is none. Only cancellation is raised."""
        TENANT.set(tenant_id)
        why = problem(url, self._development)
        if why is not None:  # saved under other settings
            return Unanswered(why[:ERROR_CHARS_MAX])
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                await self._drain(answer)
                return Answered(answer.status)
        except TimeoutError:
            return Unanswered("no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unanswered(_line(error))

    async def close(self) -> None:
        await self._session.close()

    async def _drain(self, answer: aiohttp.ClientResponse) -> None:
        """A connection whose answer is short is used again; a long answer is not read."""
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_S):
                await answer.content.read(self._limits.answer_bytes_max)
        if not answer.content.at_eof():
            answer.close()

    def _open(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = address
        if not allowed(str(place[0]), self._development):
            raise NotAllowed(errno.EACCES, "the address is not allowed")
        opened = socket.socket(family, kind, protocol)
        opened.setblocking(False)
        return opened


def _line(error: Exception) -> str:
    """Without addresses: what a tenant's name resolves to inside a network is not the tenant's to know."""
    cause = getattr(error, "os_error", None) or error.__cause__ or error
    if isinstance(cause, NotAllowed) or isinstance(error, NotAllowed):
        return "its address is not one of the public internet"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS failed: its certificate is not valid for the name"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be connected"
    return f"the call failed ({type(error).__name__})"[:ERROR_CHARS_MAX]

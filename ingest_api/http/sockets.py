"""The sockets on which the edge listens: IPv4 and, where the machine has it, IPv6."""

from __future__ import annotations

import logging
import socket

from pipeline.errors import CannotStart
from pipeline.runtime.ports import EDGE_ID

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listening(host: str | None, port: int, backlog: int, *, shared: bool = False) -> list[socket.socket]:
    """Return bound sockets: on loopback if `host` is a name of it, else on every interface.

    Clients use `host`, which need not be an address of this machine. Raises CannotStart for a port in use.
    `shared`: other processes of this user may have the port, too, if each states so: the kernel gives each
    new connection to one of those that listen (SO_REUSEPORT). Such a socket does not listen yet.
    """
    try:
        if host not in LOOPBACK:
            if socket.has_dualstack_ipv6():
                return [_bound(("", port), backlog, shared, dualstack=True)]
            return [_bound(("0.0.0.0", port), backlog, shared)]
        first = _bound(("127.0.0.1", port), backlog, shared)
    except OSError as error:
        raise CannotStart(
            f"The edge cannot listen on port {port}: {error.strerror}. "
            f"Of several edges of one host, each needs {EDGE_ID}: 0, 1 and so on."
        ) from None
    try:
        second = _bound(("::1", first.getsockname()[1]), backlog, shared)
    except OSError as error:
        log.info("the edge listens on IPv4 loopback only: %s", error.strerror)
        return [first]
    return [first, second]


def _bound(address: tuple[str, int], backlog: int, shared: bool, *, dualstack: bool = False) -> socket.socket:
    is_ipv6 = dualstack or ":" in address[0]
    bound = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        if not shared:
            bound.listen(backlog)
    except BaseException:
        bound.close()
        raise
    return bound

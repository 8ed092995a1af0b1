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
    `shared`: other processes of this user may listen there, too, if each says so: the kernel gives each new
    connection to one of them (SO_REUSEPORT).
    """
    try:
        if host not in LOOPBACK:
            if socket.has_dualstack_ipv6():
                address = ("", port)
                return [
                    socket.create_server(
                        address,
                        family=socket.AF_INET6,
                        dualstack_ipv6=True,
                        backlog=backlog,
                        reuse_port=shared,
                    )
                ]
            return [socket.create_server(("0.0.0.0", port), backlog=backlog, reuse_port=shared)]
        first = socket.create_server(("127.0.0.1", port), backlog=backlog, reuse_port=shared)
    except OSError as error:
        raise CannotStart(
            f"The edge cannot listen on port {port}: {error.strerror}. "
            f"Of several edges of one host, each needs {EDGE_ID}: 0, 1 and so on."
        ) from None
    try:
        second = socket.create_server(
            ("::1", first.getsockname()[1]), family=socket.AF_INET6, backlog=backlog, reuse_port=shared
        )
    except OSError as error:
        log.info("the edge listens on IPv4 loopback only: %s", error.strerror)
        return [first]
    return [first, second]

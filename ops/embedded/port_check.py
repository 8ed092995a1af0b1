"""Whether a server can listen on a port, and otherwise which process holds it."""

from __future__ import annotations

import socket

from pipeline.errors import CannotStart
from pipeline.runtime.ports import LOOPBACK, PORT_BASE_ENV, PORT_OFFSET_MAX


def require_free(port: int, purpose: str) -> None:
    """Raises CannotStart, naming the port and where possible its holder, when nothing can listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection of a stopped server in TIME_WAIT does not block its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            raise CannotStart(
                f"Port {port} ({purpose}) is taken{_holder(port)}: stop what uses it, "
                f"or choose other ports with {PORT_BASE_ENV}=N (ports N to N+{PORT_OFFSET_MAX})."
            ) from error


def _holder(port: int) -> str:
    try:
        import psutil

        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    return ""
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (ImportError, psutil.Error, OSError):
        return ""
    return ""

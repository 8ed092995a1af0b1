"""Ends listening without a reset: every connection that the kernel has taken is accepted first.

When a socket is closed, the connections in its queue are reset. So new handshakes are kept from it, by a
filter that drops their first packet; then its queue is emptied; then it is closed. The client's system sends
that packet again after a second: another process that shares the port takes it, or the connection is rejected
before a byte of a request was sent.

Linux alone has such filters; elsewhere, connections between the last accept and the close are reset.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the socket module does not name it
ACCEPTED_MAX = 4096  # of one queue, which is shorter

# Classic BPF (linux/filter.h) on the TCP header: code, jump if true, jump if false, operand.
_FLAGS, _SYN, _SYN_ACK, _ALL = 13, 0x02, 0x12, 0xFFFF_FFFF
_DROP_NEW = (
    (0x30, 0, 0, _FLAGS),  # load the byte with the flags
    (0x54, 0, 0, _SYN_ACK),  # keep SYN and ACK
    (0x15, 0, 1, _SYN),  # a first packet?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, _ALL),  # else take it
)


def take_no_new(listener: socket.socket) -> bool:
    """Keep new handshakes from the socket, not those that have begun. Return whether it is possible."""
    if not sys.platform.startswith("linux"):
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_NEW))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HP", len(_DROP_NEW), ctypes.addressof(program)),
        )
    except OSError:
        return False
    return True


def accept_rest(listener: socket.socket) -> list[socket.socket]:
    """Close the socket; return the connections that waited in its queue."""
    accepted: list[socket.socket] = []
    listener.setblocking(False)
    with contextlib.suppress(OSError):
        while len(accepted) < ACCEPTED_MAX:
            accepted.append(listener.accept()[0])
    listener.close()
    return accepted

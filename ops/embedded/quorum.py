"""Two requests that the Python clients lack: the metadata quorum's leader, and a broker's view of others.

Implements Kafka's `DescribeQuorum` (55) and `DescribeCluster` (60), each in version 0. Both are flexible:
lengths are unsigned varints, one larger than the count.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from pipeline.runtime.ports import LOOPBACK

ANSWER_TIMEOUT_S = 2.0
DESCRIBE_QUORUM, DESCRIBE_CLUSTER = 55, 60
_METADATA_TOPIC = b"__cluster_metadata"
_NO_TAGS = b"\x00"


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self._body, self._at)
        self._at += struct.calcsize(f">{form}")
        return int(value)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._body[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self) -> int:
        """Of a string or an array; -1 stands for none."""
        return self.varint() - 1

    def skip_string(self) -> None:
        length = self.length()
        self._at += max(0, length)

    def skip_tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            size_bytes = self.varint()
            self._at += size_bytes


def quorum_leader(controller_ports: Iterable[int]) -> int | None:
    """Node id of the active controller; None while none of those that answer leads."""
    partition = struct.pack(">i", 0) + _NO_TAGS
    topic = bytes([len(_METADATA_TOPIC) + 1]) + _METADATA_TOPIC + b"\x02" + partition + _NO_TAGS
    for port in controller_ports:
        answer = _ask(port, DESCRIBE_QUORUM, b"\x02" + topic + _NO_TAGS)
        # Only the leader itself answers without an error.
        if answer is None or answer.number("h") != 0 or answer.length() < 1:
            continue
        answer.skip_string()
        if answer.length() < 1:
            continue
        answer.number("i")
        if answer.number("h") == 0:
            return answer.number("i")
    return None


def brokers_known_to(port: int) -> frozenset[int]:
    """Node ids that the broker at `port` takes for registered and not fenced; none where it is mute."""
    answer = _ask(port, DESCRIBE_CLUSTER, b"\x00" + _NO_TAGS)
    if answer is None:
        return frozenset()
    answer.number("i")
    error = answer.number("h")
    answer.skip_string()
    if error != 0:
        return frozenset()
    answer.skip_string()
    answer.number("i")
    found = set()
    for _ in range(answer.length()):
        found.add(answer.number("i"))
        answer.skip_string()
        answer.number("i")
        answer.skip_string()
        answer.skip_tags()
    return frozenset(found)


def _ask(port: int, api_key: int, body: bytes) -> _Reader | None:
    """What is after the answer's header; None where nobody answers in time."""
    header = struct.pack(">hhih", api_key, 0, 1, -1) + _NO_TAGS
    message = header + body
    try:
        with socket.create_connection((LOOPBACK, port), ANSWER_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(message)) + message)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                answer = _Reader(stream.read(size))
    except (OSError, struct.error):
        return None
    answer.number("i")
    answer.skip_tags()
    return answer

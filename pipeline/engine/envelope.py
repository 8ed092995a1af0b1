"""A table's value in RocksDB and in the changelog: the source offset that it reflects, then the payload.

The offset is that of the last record of the chunk which wrote the value: the value then holds all that the
records up to there did to its key. Workers that handle one partition one after the other can append to its
changelog in another order than they should (a worker that was stopped and continues appends late). Whoever
recovers keeps the highest.
"""

import struct

_OFFSET = struct.Struct(">q")
OFFSET_HEADER = "source-offset"  # a tombstone has no value to hold the offset


class CorruptEnvelope(Exception):
    """A value that is too short to hold an offset: it was not written by this program."""


def seal(source_offset: int, payload: bytes) -> bytes:
    """Put the offset before the payload."""
    return _OFFSET.pack(source_offset) + payload


def payload(sealed: bytes) -> bytes:
    """The value as a stage wrote it."""
    return sealed[_OFFSET.size :]


def source_offset(sealed: bytes) -> int:
    """The offset that the value reflects. Raises `CorruptEnvelope`."""
    if len(sealed) < _OFFSET.size:
        raise CorruptEnvelope(f"a value of {len(sealed)} bytes holds no source offset")
    return int(_OFFSET.unpack_from(sealed)[0])


def offset_bytes(offset: int) -> bytes:
    """An offset as the header of a tombstone holds it."""
    return _OFFSET.pack(offset)

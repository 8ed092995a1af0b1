"""A table's value in RocksDB and in the changelog: the source offset that it reflects, then the payload.

The offset is that of the last record of the chunk that wrote the value: the value reflects all records of its
key up to there. Two workers that own one partition one after the other may append to its changelog in the
wrong order (a worker that was stopped and continues appends late). Recovery keeps the highest offset.
"""

import struct

_OFFSET = struct.Struct(">q")
OFFSET_HEADER = "source-offset"  # a tombstone has no value to hold the offset


class CorruptEnvelope(Exception):
    """A value too short to hold an offset: it was not written by this program."""


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

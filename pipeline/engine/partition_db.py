"""The RocksDB database of one partition of one table: batch reads and atomic batch writes.

Keys are prefixed, so that the changelog's position and the expiry index are in the same write as the data.

The expiry index has one entry for each write: its time, the source offset that its values reflect, and their
keys. A key whose value reflects a later offset was written again, and belongs to a later entry. (An entry a
key would cost as much as the key's value. RocksDB's compaction filters cannot be written in Python.)

Writes are not synced to disk: a killed process loses nothing; a machine that loses power loses the last whole
writes, which are read again from the changelog.
"""

import logging
import shutil
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DataBlockIndexType,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from pipeline.engine.envelope import source_offset
from pipeline.runtime.clock import now_ms

log = logging.getLogger(__name__)

DATA = b"d"
EXPIRY = b"e"
COUNT_KEY = b"n"  # the number of keys and, to detect writes of a version without an index, the position
POSITION_KEY = b"p"

BLOCK_CACHE_BYTES = 32 << 20  # of all databases of the process together; RocksDB's default is 32 MB for each
WRITE_BUFFER_BYTES = 8 << 20
WRITE_BUFFERS_MAX = 2
BLOOM_BITS_PER_KEY = 10
# Most keys that are looked up are new. Without its own filter the write buffer is searched at each look-up:
# 1.8 us a key instead of 0.7 with a million keys.
WRITE_BUFFER_BLOOM_RATIO = 0.1  # of the buffer's size
KEYS_PER_HASH_SLOT = 0.75  # of a block's own index of its keys
OPEN_FILES_MAX = 64  # of one database
LOG_FILES_MAX = 2  # RocksDB's own messages

NOTHING_APPLIED = -1
INDEXED_KEYS_MAX = 10_000  # in one write, while a database without an index gets one
NEVER_MS = 1 << 62

_ENTRY = struct.Struct(">QQq")  # big-endian, so that entries are in the order of their times
_TIME = struct.Struct(">Q")

_block_cache: Cache | None = None


def _options() -> Options:
    global _block_cache
    if _block_cache is None:
        _block_cache = Cache(BLOCK_CACHE_BYTES)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_block_cache)
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    blocks.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
    blocks.set_data_block_hash_ratio(KEYS_PER_HASH_SLOT)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_memtable_prefix_bloom_ratio(WRITE_BUFFER_BLOOM_RATIO)
    options.set_memtable_whole_key_filtering(True)
    options.set_compression_type(DBCompressionType.lz4())  # read back in less time than RocksDB's default
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_keep_log_file_num(LOG_FILES_MAX)
    return options


class Written(NamedTuple):
    """When values were written: the time of their records (ms), and what makes the entry unique.

    `reflects`: the source offset of the chunk; `changelog_offset`: of the last changelog record, -1 without.
    """

    at_ms: int
    reflects: int
    changelog_offset: int


class Entry(NamedTuple):
    """An entry of the expiry index: keys that were written together."""

    place: bytes
    reflects: int
    keys: list[bytes]


class PartitionDb:
    """An open database. Only one process and one instance at a time can have it open."""

    def __init__(self, path: Path) -> None:
        """Open or create it. A corrupt one is deleted and created again: the changelog restores it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = Rdict(str(path), _options())
        except Exception as exc:
            if not str(exc).startswith("Corruption"):
                raise
            shutil.rmtree(path)
            self._db = Rdict(str(path), _options())
        stored = cast("bytes | None", self._db.get(POSITION_KEY))
        self.position = NOTHING_APPLIED if stored is None else int(stored)
        self.keys = 0
        self._first_ms = 0  # no entry of the expiry index is earlier
        count = cast("bytes | None", self._db.get(COUNT_KEY))
        if count is not None and count.endswith(b" %d" % self.position):
            self.keys = int(count.split()[0])
        elif stored is not None:
            self._index_all()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values, in the order of the keys."""
        if not keys:
            return []
        return cast("list[bytes | None]", self._db.get([DATA + key for key in keys]))

    def write(
        self,
        values: Mapping[bytes, bytes | None],
        position: int,
        written: Written,
        added: int,
        dropped: Collection[bytes] = (),
    ) -> None:
        """Write values (`None` deletes), their index entry and the changelog's position, atomically.

        `added`: by how much the number of keys changes; `dropped`: places of index entries to delete.
        """
        batch = WriteBatch(raw_mode=True)
        kept = []
        for key, value in values.items():
            if value is None:
                batch.delete(DATA + key)
            else:
                batch.put(DATA + key, value)
                kept.append(key)
        for place in dropped:
            batch.delete(place)
        if kept:
            batch.put(_place(written), msgspec.msgpack.encode(kept))
        keys = self.keys + added
        if position != self.position:
            batch.put(POSITION_KEY, b"%d" % position)
        if position != self.position or keys != self.keys:
            batch.put(COUNT_KEY, b"%d %d" % (keys, position))
        self._db.write(batch)
        self.position, self.keys = position, keys
        if dropped:
            self._first_ms = max(self._first_ms, _time_of(max(dropped)))
        if kept:
            self._first_ms = min(self._first_ms, max(0, written.at_ms))

    def has_due(self, before_ms: int) -> bool:
        """Whether there may be entries from before `before_ms`. Costs a comparison."""
        return self._first_ms < before_ms

    def due(self, before_ms: int, keys_max: int) -> list[Entry]:
        """The oldest entries from before `before_ms`, until they have `keys_max` keys or more."""
        found: list[Entry] = []
        keys = 0
        end = EXPIRY + _TIME.pack(max(0, before_ms))
        start = EXPIRY + _TIME.pack(self._first_ms)  # the deleted entries before it are slow to skip
        for place, value in cast("Iterable[tuple[bytes, bytes]]", self._db.items(from_key=start)):
            if place >= end or keys >= keys_max:
                if not found:
                    self._first_ms = _time_of(place) if place.startswith(EXPIRY) else NEVER_MS
                return found
            entry = Entry(
                place,
                _ENTRY.unpack_from(place, len(EXPIRY))[1],
                msgspec.msgpack.decode(value, type=list[bytes]),
            )
            keys += len(entry.keys)
            found.append(entry)
        return found

    def _index_all(self) -> None:
        """Index all keys as written now: an earlier version wrote some or all of them without an entry.

        In writes of bounded size. The number of keys comes last: an interrupted call is made again.
        """
        at_ms, keys, reflects = now_ms(), 0, 0
        some: list[bytes] = []
        log.info("%s: indexing its keys for their expiry", self._db.path())
        for key, value in self.items():
            keys += 1
            some.append(key)
            reflects = max(reflects, source_offset(value))
            if len(some) == INDEXED_KEYS_MAX:
                self._db.put(_place(Written(at_ms, reflects, keys)), msgspec.msgpack.encode(some))
                some = []
        if some:
            self._db.put(_place(Written(at_ms, reflects, keys)), msgspec.msgpack.encode(some))
        self._db.put(COUNT_KEY, b"%d %d" % (keys, self.position))
        self.keys = keys
        log.info("%s: indexed %d keys for their expiry", self._db.path(), keys)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All keys and values, in the order of the keys."""
        for key, value in cast("Iterable[tuple[bytes, bytes]]", self._db.items(from_key=DATA)):
            if not key.startswith(DATA):
                return
            yield key[len(DATA) :], value

    def close(self) -> None:
        """Close it, so that it can be opened again."""
        self._db.close()


def _place(written: Written) -> bytes:
    at_ms, reflects, changelog_offset = written
    return EXPIRY + _ENTRY.pack(max(0, at_ms), max(0, reflects), changelog_offset)


def _time_of(place: bytes) -> int:
    return int(_TIME.unpack_from(place, len(EXPIRY))[0])

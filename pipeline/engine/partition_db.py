"""The RocksDB database of one partition of one table: batch reads and atomic batch writes.

Keys are prefixed, so that the changelog's position is in the same write as the data, and so that an index can
be added. (Expiry would be one: `EXPIRY + hour + key`, written in the same batch as the value; a range scan up
to the current hour finds what to delete. RocksDB's compaction filters cannot be written in Python.)

Writes are not synced to disk: a killed process loses nothing; a machine that loses power loses the last whole
writes, which are read again from the changelog.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DataBlockIndexType,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

DATA = b"d"
EXPIRY = b"e"  # reserved
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

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values, in the order of the keys."""
        if not keys:
            return []
        return cast("list[bytes | None]", self._db.get([DATA + key for key in keys]))

    def write(self, values: Mapping[bytes, bytes | None], position: int) -> None:
        """Write values (`None` deletes) and the changelog's position, atomically."""
        batch = WriteBatch(raw_mode=True)
        for key, value in values.items():
            if value is None:
                batch.delete(DATA + key)
            else:
                batch.put(DATA + key, value)
        if position != self.position:
            batch.put(POSITION_KEY, b"%d" % position)
        self._db.write(batch)
        self.position = position

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All keys and values, in the order of the keys."""
        for key, value in cast("Iterable[tuple[bytes, bytes]]", self._db.items(from_key=DATA)):
            if not key.startswith(DATA):
                return
            yield key[len(DATA) :], value

    def close(self) -> None:
        """Close it, so that it can be opened again."""
        self._db.close()

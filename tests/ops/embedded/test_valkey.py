"""What leaves a full Valkey: pages that nobody reads, not the limits in use."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import redis

from ops.embedded.valkey import EVICTION
from tests.support.edge import wait_until
from tests.support.ports import free_ports
from tests.support.valkeys import own_valkey

PAGE = b"x" * 8_000
PAGE_LIFE_MS, WINDOW_LIFE_MS = 89_000_000, 600_000
MEMORY_BYTES = 16_000_000
# It looks at some keys only: at many, it chooses as the policy says.
CAREFULLY = ("--maxmemory-samples", "64")
USED_RATIO = 0.6
WINDOW = "{limits}:address:60000:active"


def test_pages_do_not_push_out_the_window_of_an_active_address(tmp_path: Path) -> None:
    policy = ("--maxmemory", str(MEMORY_BYTES), "--maxmemory-policy", EVICTION, *CAREFULLY)
    with (
        own_valkey(tmp_path / "valkey", free_ports().valkey, *policy) as server,
        redis.Redis(port=server.port) as client,
    ):
        numbers = count()

        def store() -> None:
            client.set(f"cache:{next(numbers)}", PAGE, px=PAGE_LIFE_MS)

        def info() -> dict[str, Any]:
            found: dict[str, Any] = client.info()
            return found

        client.hset(WINDOW, mapping={"t": 100})
        client.pexpire(WINDOW, WINDOW_LIFE_MS)
        while info()["used_memory"] < USED_RATIO * MEMORY_BYTES:
            store()
        # Its clock of uses counts seconds.
        wait_until(lambda: client.object("idletime", "cache:0") >= 2, "the pages to be idle")
        client.hincrby(WINDOW, "t", 1)
        while info()["evicted_keys"] < 300:
            store()
        assert client.hget(WINDOW, "t") == b"101"

"""The fault of a Valkey without free memory."""

from __future__ import annotations

import time
from contextlib import suppress

import redis

BYTES_MAX = 1
TIMEOUT_S = 5.0
TRY_EVERY_S = 0.1


def out_of_memory(url: str, seconds: float) -> int:
    """Return the number of writes that Valkey rejected in that time. Raises redis.RedisError."""
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, decode_responses=True)
    kept = {name: str(client.config_get(name)[name]) for name in ("maxmemory", "maxmemory-policy")}
    refused = 0
    try:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", BYTES_MAX)
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            try:
                client.set("chaos:memory", "more")
            except redis.OutOfMemoryError:
                refused += 1
            time.sleep(TRY_EVERY_S)
    finally:
        for name, value in kept.items():
            client.config_set(name, value)
        with suppress(redis.RedisError):
            client.delete("chaos:memory")
        client.close()
    return refused

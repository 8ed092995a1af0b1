"""Asynchronous clients of Valkey by URL: one server, a master that Sentinel names, or a cluster.

- `redis://`, `rediss://`, `unix://`: as the client library reads them;
- `redis+sentinel://[user:password@]host:port,host:port/name/database`: the servers are Sentinels;
- `redis+cluster://[user:password@]host:port`: any node of a cluster.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from pipeline.errors import CannotStart

SENTINEL_PORT = 26379


def connect(url: str, timeout_s: float) -> Any:
    """Return a client; nothing is contacted yet. It never repeats a command. Raises CannotStart."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme = urlsplit(url).scheme
    if scheme == "redis+cluster":
        return RedisCluster.from_url(url.replace("redis+cluster", "redis", 1), **options)
    if scheme == "redis+sentinel":
        return _of_sentinel(url, options)
    try:
        return Redis.from_url(url, **options)
    except ValueError as error:
        raise CannotStart(f"REDIS_URL cannot be used: {error}") from None


def _of_sentinel(url: str, options: dict[str, Any]) -> Any:
    parts = urlsplit(url)
    account, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    if not name or not hosts:
        raise CannotStart("REDIS_URL cannot be used: redis+sentinel://host:port,host:port/NAME is expected")
    sentinels = []
    for host in hosts.split(","):
        before, colon, port = host.rpartition(":")
        sentinels.append((before.strip("[]"), int(port)) if colon else (host, SENTINEL_PORT))
    user, _, password = account.partition(":")
    own = options | {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "db": int(database or 0),
    }
    sentinel = Sentinel(sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
    return sentinel.master_for(name, **own)

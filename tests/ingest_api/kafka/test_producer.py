"""What the edge does with what a producer may say; the producer here says it on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from confluent_kafka import KafkaError, KafkaException

from ingest_api.http.problems import Rejection
from ingest_api.kafka.circuit_breaker import State
from ingest_api.kafka.producer import Publisher
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load

TOPIC = load(Settings.from_env({}).topology_file).topic("completions")
FAILURES_MAX = 3
IN_FLIGHT_MAX = 4

Report = Callable[[KafkaError | None, Any], None]


def error(code: int, *, fatal: bool = False) -> KafkaError:
    return KafkaError(code, "said so", fatal)


@dataclass
class Says:
    """Reports each record as `report` says, at the next poll; None keeps it waiting."""

    on_error: Callable[[KafkaError], None]
    report: KafkaError | Literal["delivered"] | None = "delivered"
    raises: Exception | None = None
    answers: bool = True
    waiting: list[Report] = field(default_factory=list)
    purged: list[dict[str, bool]] = field(default_factory=list)
    errors: list[KafkaError] = field(default_factory=list)

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Report) -> None:
        if self.raises is not None:
            raise self.raises
        self.waiting.append(on_delivery)

    def poll(self, timeout: float, /) -> int:
        while self.errors:
            self.on_error(self.errors.pop())
        if self.report is not None:
            reports, self.waiting = self.waiting, []
            for report in reports:
                report(self.report if isinstance(self.report, KafkaError) else None, None)
        return 0

    def purge(self, **what: bool) -> None:
        self.purged.append(what)

    def list_topics(self, topic: str, /, timeout: float) -> Any:
        if not self.answers:
            raise KafkaException(error(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None)})


@dataclass
class Setting:
    log: Publisher
    producers: list[Says]

    @property
    def producer(self) -> Says:
        return self.producers[-1]

    async def publish(self) -> str:
        """The slug of the problem; empty when delivered."""
        try:
            await self.log.publish(TOPIC.name, b"key", b"value")
        except Rejection as rejection:
            return rejection.problem.kind.slug
        return ""


@asynccontextmanager
async def connected(open_s: float = 0.01) -> AsyncIterator[Setting]:
    producers: list[Says] = []

    def make(on_error: Callable[[KafkaError], None]) -> Says:
        producers.append(Says(on_error))
        return producers[-1]

    log = Publisher(make, (TOPIC,), failures_max=FAILURES_MAX, open_s=open_s, in_flight_max=IN_FLIGHT_MAX)
    await log.start()
    await until(lambda: log.problem is None)
    yield Setting(log, producers)
    await log.close(1.0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - any state may be waited for, and states signal nobody
            await asyncio.sleep(0.005)


def test_a_record_is_published_when_it_is_reported_and_not_before() -> None:
    async def story() -> None:
        async with connected() as setting:
            setting.producer.report = None
            publishing = asyncio.create_task(setting.publish())
            await until(lambda: setting.log.in_flight == 1)
            assert not publishing.done()
            setting.producer.report = "delivered"
            assert await publishing == ""
            assert setting.log.in_flight == 0

    asyncio.run(story())


def test_failures_open_the_breaker_and_release_everybody_who_waits() -> None:
    async def story() -> None:
        async with connected(open_s=60) as setting:
            setting.producer.report = None
            waits = asyncio.create_task(setting.publish())
            await until(lambda: setting.log.in_flight == 1)
            (waiting,) = setting.producer.waiting
            setting.producer.waiting = []
            setting.producer.report = error(KafkaError._MSG_TIMED_OUT)
            for _ in range(FAILURES_MAX):
                assert await setting.publish() == "log-unavailable"
            assert await waits == "log-unavailable"
            assert setting.log.breaker.state is State.OPEN
            assert setting.producer.purged == [{"in_queue": True, "in_flight": False, "blocking": False}]
            assert setting.log.problem is not None
            # It may still be delivered: that is proof that the log is there.
            waiting(None, None)
            assert setting.log.problem is None

    asyncio.run(story())


def test_open_it_asks_the_brokers_itself_and_then_lets_one_request_try() -> None:
    async def story() -> None:
        async with connected() as setting:
            setting.producer.report = error(KafkaError._MSG_TIMED_OUT)
            setting.producer.answers = False
            for _ in range(FAILURES_MAX):
                await setting.publish()
            produced = setting.producer.waiting
            assert await setting.publish() == "log-unavailable"
            assert produced == []
            setting.producer.answers = True
            await until(lambda: setting.log.breaker.state is State.HALF_OPEN)
            setting.producer.report = None
            tries = asyncio.create_task(setting.publish())
            await until(lambda: setting.log.in_flight == 1)
            assert await setting.publish() == "log-unavailable"
            setting.producer.report = "delivered"
            assert await tries == ""
            assert await setting.publish() == ""

    asyncio.run(story())


def test_lost_connections_are_noticed_before_anybody_asks() -> None:
    async def story() -> None:
        async with connected() as setting:
            setting.producer.answers = False
            setting.producer.errors.append(error(KafkaError._ALL_BROKERS_DOWN))
            await until(lambda: setting.log.breaker.state is State.OPEN)
            assert "said so" in str(setting.log.problem)

    asyncio.run(story())


@pytest.mark.parametrize("how", ["reported", "raised", "told"])
def test_a_producer_that_cannot_go_on_is_replaced(how: str) -> None:
    async def story() -> None:
        async with connected() as setting:
            first = setting.producer
            fatal = error(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)
            if how == "told":
                first.errors.append(fatal)
            else:
                if how == "reported":
                    first.report = fatal
                else:
                    first.raises = KafkaException(fatal)
                assert await setting.publish() == "log-unavailable"
            await until(lambda: len(setting.producers) == 2)
            assert await setting.publish() == ""
            await until(lambda: len(first.purged) == 1)

    asyncio.run(story())


@pytest.mark.parametrize("raised", [True, False])
def test_a_record_that_is_too_large_says_nothing_about_the_log(raised: bool) -> None:
    async def story() -> None:
        async with connected() as setting:
            too_large = error(KafkaError.MSG_SIZE_TOO_LARGE)
            if raised:
                setting.producer.raises = KafkaException(too_large)
            else:
                setting.producer.report = too_large
            for _ in range(FAILURES_MAX + 1):
                assert await setting.publish() == "body-too-large"
            assert setting.log.breaker.state is State.CLOSED

    asyncio.run(story())


def test_no_more_wait_than_may() -> None:
    async def story() -> None:
        async with connected() as setting:
            setting.producer.report = None
            waiting = [asyncio.create_task(setting.publish()) for _ in range(IN_FLIGHT_MAX)]
            await until(lambda: setting.log.in_flight == IN_FLIGHT_MAX)
            assert await setting.publish() == "overloaded"
            setting.producer.report = "delivered"
            assert await asyncio.gather(*waiting) == [""] * IN_FLIGHT_MAX
            setting.producer.raises = BufferError()
            assert await setting.publish() == "overloaded"
            assert setting.log.breaker.state is State.CLOSED

    asyncio.run(story())


def test_a_client_that_leaves_while_it_waits_does_no_harm() -> None:
    async def story() -> None:
        async with connected() as setting:
            setting.producer.report = None
            leaves = asyncio.create_task(setting.publish())
            await until(lambda: setting.log.in_flight == 1)
            leaves.cancel()
            await until(lambda: setting.log.in_flight == 0)
            setting.producer.report = "delivered"
            assert await setting.publish() == ""

    asyncio.run(story())

"""Puts a record into the log and waits for the brokers' word: no thread a request, and nobody waits for ever.

Delivery reports are served on the event loop by a pump, so a report resolves its request's future with no
hand-over. When the breaker opens, everybody who waits is told so at once, and what was not sent is purged:
clients keep the completion and send it again with the same key, so that what was delivered late all the same
is only a repeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from ingest_api.http.metrics import PRODUCE_ERRORS, PRODUCERS_RENEWED
from ingest_api.http.problems import BODY_TOO_LARGE, LOG_UNAVAILABLE, OVERLOADED, Kind, refusal
from ingest_api.kafka.circuit_breaker import Breaker, State
from pipeline.runtime.crash_points import reach
from pipeline.topology.model import Topic

log = logging.getLogger(__name__)

PUMP_S = 0.002  # between two looks for reports while somebody waits
PUMP_IDLE_S = 0.25  # while nobody does: errors of the connection come this way too
PROBE_TIMEOUT_S = 2.0
PROBE_IDLE_S = 5.0  # without a delivery for this long, the brokers are asked: readiness must not be a memory
OVERLOADED_RETRY_S = 1.0

# The record's own fault: the brokers are well.
_TOO_LARGE = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
}

_DETAILS = {
    LOG_UNAVAILABLE: "the log does not take records at the moment",
    OVERLOADED: "as many requests wait for the log as may",
    BODY_TOO_LARGE: "the log does not take a record of this size",
}


class Producer(Protocol):
    """What is used of confluent_kafka.Producer."""

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        *,
        on_delivery: Callable[[KafkaError | None, Any], None],
    ) -> None: ...
    def poll(self, timeout: float, /) -> int: ...
    def purge(self, *, in_queue: bool, in_flight: bool, blocking: bool) -> None: ...
    def list_topics(self, topic: str, /, timeout: float) -> Any: ...


MakeProducer = Callable[[Callable[[KafkaError], None]], Producer]


class Log:
    """The only way from the edge into Kafka. Everything but its probes runs on the loop's thread."""

    def __init__(
        self,
        make_producer: MakeProducer,
        topics: tuple[Topic, ...],
        *,
        failures_max: int,
        open_s: float,
        in_flight_max: int,
    ) -> None:
        self.breaker = Breaker(failures_max)
        self.breaker.open()
        self._make_producer = make_producer
        self._producer = self._made()
        self._topics = tuple(topic.name for topic in topics)
        self._open_s = open_s
        self._in_flight_max = in_flight_max
        self._waiting: set[asyncio.Future[Kind | None]] = set()
        self._prober = ThreadPoolExecutor(1, "probe")
        self._unreached = "not asked yet"
        self._delivered_since_probe = False

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._doubt = asyncio.Event()
        self._next_pump = self._loop.call_later(PUMP_IDLE_S, self._pump)
        self._watching = asyncio.create_task(self._watch())

    @property
    def in_flight(self) -> int:
        """Requests that wait for their report."""
        return len(self._waiting)

    @property
    def problem(self) -> str | None:
        """Why nothing can be accepted now, for readiness."""
        return f"log: {self._unreached}" if self.breaker.state is State.OPEN else None

    def require_open(self) -> None:
        """Raises Refusal while the breaker is open, so that no work is done for nothing."""
        if self.breaker.state is State.OPEN:
            raise self._refusal(LOG_UNAVAILABLE)

    async def publish(self, topic: str, key: bytes, value: bytes) -> None:
        """Returns only after all in-sync replicas have the record.

        Raises Refusal: log-unavailable, overloaded, body-too-large. The record may be in the log even so.
        """
        if len(self._waiting) >= self._in_flight_max:
            raise self._refusal(OVERLOADED)
        if not self.breaker.admits():
            raise self._refusal(LOG_UNAVAILABLE)
        reported: asyncio.Future[Kind | None] = self._loop.create_future()
        reach("edge.before_produce")
        try:
            self._producer.produce(topic, value, key, on_delivery=partial(self._reported, reported))
        except BufferError:
            self.breaker.withdrawn()
            raise self._refusal(OVERLOADED) from None
        except KafkaException as raised:
            raise self._refusal(self._problem_of(raised.args[0])) from None
        reach("edge.produced")
        if not self._waiting:
            self._next_pump.cancel()
            self._next_pump = self._loop.call_later(PUMP_S, self._pump)
        self._waiting.add(reported)
        try:
            problem = await reported
        finally:
            self._waiting.discard(reported)
        if problem is not None:
            raise self._refusal(problem)
        reach("edge.reported")

    async def close(self, timeout_s: float) -> None:
        """Returns once nobody waits any more, or after `timeout_s`; those who still wait are refused."""
        if self._waiting:
            await asyncio.wait(set(self._waiting), timeout=timeout_s)
        self._release(LOG_UNAVAILABLE)
        self._watching.cancel()
        self._next_pump.cancel()
        self._prober.shutdown(wait=False, cancel_futures=True)

    def _pump(self) -> None:
        try:
            self._producer.poll(0)
        finally:
            # Whatever goes wrong in there, everybody else still waits for a report.
            self._next_pump = self._loop.call_later(PUMP_S if self._waiting else PUMP_IDLE_S, self._pump)

    def _reported(
        self, reported: asyncio.Future[Kind | None], error: KafkaError | None, _message: Any
    ) -> None:
        if error is None:
            self._delivered_since_probe = True
            self.breaker.succeeded()
            problem = None
        else:
            problem = self._problem_of(error)
        if not reported.done():
            reported.set_result(problem)

    def _problem_of(self, error: KafkaError) -> Kind:
        """What to tell the client; also moves the breaker."""
        PRODUCE_ERRORS.labels(error.name()).inc()
        if error.fatal():
            self._loop.call_soon(self._renew, self._producer, error.str())
        if error.code() in _TOO_LARGE:
            self.breaker.withdrawn()
            return BODY_TOO_LARGE
        self._failed(error.str())
        return LOG_UNAVAILABLE

    def _failed(self, why: str) -> None:
        if self.breaker.failed():
            self._opened(why)

    def _opened(self, why: str) -> None:
        self._unreached = why
        log.warning("breaker open: %s", why)
        # Not from here: this may be inside the producer's own poll.
        self._loop.call_soon(self._give_up, self._producer)
        self._doubt.set()

    def _give_up(self, producer: Producer) -> None:
        self._release(LOG_UNAVAILABLE)
        producer.purge(in_queue=True, in_flight=False, blocking=False)

    def _release(self, problem: Kind) -> None:
        for reported in self._waiting:
            if not reported.done():
                reported.set_result(problem)

    def _made(self) -> Producer:
        return self._make_producer(self._on_error)

    def _on_error(self, error: KafkaError) -> None:
        """Errors of the connection, inside the pump's poll."""
        PRODUCE_ERRORS.labels(error.name()).inc()
        if error.fatal():
            self._loop.call_soon(self._renew, self._producer, error.str())
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._doubt.set()

    def _renew(self, producer: Producer, why: str) -> None:
        """An idempotent producer that has lost count takes nothing any more, and says so for ever."""
        if producer is not self._producer:
            return
        log.error("producer replaced: %s", why)
        PRODUCERS_RENEWED.inc()
        self._release(LOG_UNAVAILABLE)
        self._producer = self._made()
        self._prober.submit(producer.purge, in_queue=True, in_flight=True, blocking=False)

    async def _watch(self) -> None:
        """Asks the brokers while the breaker is open, and when there is doubt or silence."""
        if await self._reaches():
            self.breaker.succeeded()
        while True:
            if self.breaker.state is State.OPEN:
                self._doubt.clear()
                await asyncio.sleep(self._open_s)
                if await self._reaches():
                    self.breaker.reached()
                    log.info("brokers reached again")
            else:
                await self._wait_for_doubt()
                if self.problem is None and not await self._reaches():
                    self.breaker.open()
                    self._opened(self._unreached)

    async def _wait_for_doubt(self) -> None:
        """Returns at an error of the connection, or after PROBE_IDLE_S without a delivery."""
        while True:
            self._delivered_since_probe = False
            try:
                async with asyncio.timeout(PROBE_IDLE_S):
                    await self._doubt.wait()
            except TimeoutError:
                if self._delivered_since_probe:
                    continue
            self._doubt.clear()
            return

    async def _reaches(self) -> bool:
        """Whether the brokers answer and have the topics. On a thread of its own: this takes time."""
        self._unreached = await self._loop.run_in_executor(
            self._prober, _unreached, self._producer, self._topics
        )
        return not self._unreached

    def _refusal(self, problem: Kind) -> Exception:
        after_s = {LOG_UNAVAILABLE: self._open_s, OVERLOADED: OVERLOADED_RETRY_S}.get(problem)
        return refusal(problem, _DETAILS[problem], retry_after_s=after_s)


def _unreached(producer: Producer, topics: tuple[str, ...]) -> str:
    """Why not, in the brokers' or the client's words; empty when they answer."""
    try:
        for topic in topics:
            error = producer.list_topics(topic, timeout=PROBE_TIMEOUT_S).topics[topic].error
            if error is not None:
                return f"{topic}: {error.str()}"
    except KafkaException as raised:
        return str(raised.args[0].str())
    return ""

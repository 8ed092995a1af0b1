"""Publishes records to Kafka and waits for their acknowledgement, without a thread per request.

- A periodic callback polls the producer on the event loop, so that a delivery report resolves its request's
  future without a thread switch.
- When the circuit breaker opens, all waiting requests are rejected at once and records that were not sent are
  purged. Clients keep their completion and send it again with the same key: a record that was delivered late
  is then only a repeat.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from ingest_api.http.metrics import PRODUCE_ERRORS, PRODUCERS_RENEWED
from ingest_api.http.problems import BODY_TOO_LARGE, LOG_UNAVAILABLE, OVERLOADED, Kind, rejection
from ingest_api.kafka.circuit_breaker import CircuitBreaker, State
from pipeline.runtime.crash_points import reach
from pipeline.topology.model import Topic

log = logging.getLogger(__name__)

PUMP_S = 0.002  # between two polls while requests wait for a report
PUMP_IDLE_S = 0.25  # between two polls otherwise; connection errors are reported by polls too
PROBE_TIMEOUT_S = 2.0
PROBE_IDLE_S = 5.0  # without a delivery for this long the brokers are probed, so that readiness is current
OVERLOADED_RETRY_S = 1.0

# Errors of the record itself: the brokers are available.
_TOO_LARGE = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
}

_DETAILS = {
    LOG_UNAVAILABLE: "Kafka does not accept records at the moment",
    OVERLOADED: "the limit of requests that wait for Kafka is reached",
    BODY_TOO_LARGE: "Kafka does not accept a record of this size",
}


class Producer(Protocol):
    """The part of confluent_kafka.Producer that is used here."""

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


class Publisher:
    """The only way from the edge into Kafka. All but its probes runs on the event loop's thread."""

    def __init__(
        self,
        make_producer: MakeProducer,
        topics: tuple[Topic, ...],
        *,
        failures_max: int,
        open_s: float,
        in_flight_max: int,
    ) -> None:
        self.breaker = CircuitBreaker(failures_max)
        self.breaker.open()
        self._make_producer = make_producer
        self._producer = self._made()
        self._topics = tuple(topic.name for topic in topics)
        self._open_s = open_s
        self._in_flight_max = in_flight_max
        self._waiting: set[asyncio.Future[Kind | None]] = set()
        self._prober = ThreadPoolExecutor(1, "probe")
        self._unreached = "not probed yet"
        self._delivered_since_probe = False
        self._reached_at_s: float | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._doubt = asyncio.Event()
        self._next_pump = self._loop.call_later(PUMP_IDLE_S, self._pump)
        self._watching = asyncio.create_task(self._watch())

    @property
    def in_flight(self) -> int:
        """Number of requests that wait for their delivery report."""
        return len(self._waiting)

    @property
    def in_flight_max(self) -> int:
        return self._in_flight_max

    @property
    def reached_s_ago(self) -> float | None:
        """When the brokers answered last, within PROBE_IDLE_S; None if they never did."""
        return None if self._reached_at_s is None else time.monotonic() - self._reached_at_s

    @property
    def load(self) -> float:
        """How full it is, 0 to 1; full while Kafka accepts no records."""
        return 1.0 if self.breaker.state is State.OPEN else len(self._waiting) / self._in_flight_max

    @property
    def problem(self) -> str | None:
        """The reason why no completion can be accepted now, for readiness; None if Kafka accepts records."""
        return f"Kafka: {self._unreached}" if self.breaker.state is State.OPEN else None

    def require_open(self) -> None:
        """Raise Rejection while the circuit breaker is open, before work is done in vain."""
        if self.breaker.state is State.OPEN:
            raise self._rejection(LOG_UNAVAILABLE)

    async def publish(self, topic: str, key: bytes, value: bytes) -> None:
        """Publish the record; return only after all in-sync replicas have it.

        Raises Rejection: log-unavailable, overloaded or body-too-large.

        The topic may have the record even then.
        """
        if len(self._waiting) >= self._in_flight_max:
            raise self._rejection(OVERLOADED)
        if not self.breaker.admits():
            raise self._rejection(LOG_UNAVAILABLE)
        reported: asyncio.Future[Kind | None] = self._loop.create_future()
        reach("edge.before_produce")
        try:
            self._producer.produce(topic, value, key, on_delivery=partial(self._reported, reported))
        except BufferError:
            self.breaker.withdrawn()
            raise self._rejection(OVERLOADED) from None
        except KafkaException as raised:
            raise self._rejection(self._problem_of(raised.args[0])) from None
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
            raise self._rejection(problem)
        reach("edge.reported")

    async def close(self, timeout_s: float) -> None:
        """Return once no request waits any more, or after `timeout_s`; those that still wait are rejected."""
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
            # The other requests still wait for their reports after an error.
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
        """Return the problem for the client, and report the error to the circuit breaker."""
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
        log.warning(
            "circuit breaker open, completions are rejected with 503: %s; probing the brokers every %g s",
            why,
            self._open_s,
        )
        # Deferred: this may run inside the producer's own poll.
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
        """Handle a connection error; called inside a poll."""
        PRODUCE_ERRORS.labels(error.name()).inc()
        if error.fatal():
            self._loop.call_soon(self._renew, self._producer, error.str())
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._doubt.set()

    def _renew(self, producer: Producer, why: str) -> None:
        """Replace the producer: after a fatal error an idempotent producer rejects every further record."""
        if producer is not self._producer:
            return
        log.error(
            "Kafka producer replaced after a fatal error: %s; waiting requests are rejected with 503", why
        )
        PRODUCERS_RENEWED.inc()
        self._release(LOG_UNAVAILABLE)
        self._producer = self._made()
        self._prober.submit(producer.purge, in_queue=True, in_flight=True, blocking=False)

    async def _watch(self) -> None:
        """Probe the brokers while the circuit breaker is open, after connection errors and when idle."""
        if await self._reaches():
            self.breaker.succeeded()
        while True:
            if self.breaker.state is State.OPEN:
                self._doubt.clear()
                await asyncio.sleep(self._open_s)
                if await self._reaches():
                    self.breaker.reached()
                    log.info("brokers answer again; circuit breaker half open")
            else:
                await self._wait_for_doubt()
                if self.problem is None and not await self._reaches():
                    self.breaker.open()
                    self._opened(self._unreached)

    async def _wait_for_doubt(self) -> None:
        """Return after a connection error, or after PROBE_IDLE_S without a delivery."""
        while True:
            self._delivered_since_probe = False
            try:
                async with asyncio.timeout(PROBE_IDLE_S):
                    await self._doubt.wait()
            except TimeoutError:
                if self._delivered_since_probe:
                    self._reached_at_s = time.monotonic()
                    continue
            self._doubt.clear()
            return

    async def _reaches(self) -> bool:
        """Return whether the brokers answer and have the topics. The probe runs on its own thread."""
        self._unreached = await self._loop.run_in_executor(
            self._prober, _unreached, self._producer, self._topics
        )
        if not self._unreached:
            self._reached_at_s = time.monotonic()
        return not self._unreached

    def _rejection(self, problem: Kind) -> Exception:
        after_s = {LOG_UNAVAILABLE: self._open_s, OVERLOADED: OVERLOADED_RETRY_S}.get(problem)
        return rejection(problem, _DETAILS[problem], retry_after_s=after_s)


def _unreached(producer: Producer, topics: tuple[str, ...]) -> str:
    """Return the error of the brokers or of the client; empty if the brokers answer."""
    try:
        for topic in topics:
            error = producer.list_topics(topic, timeout=PROBE_TIMEOUT_S).topics[topic].error
            if error is not None:
                return f"{topic}: {error.str()}"
    except KafkaException as raised:
        return str(raised.args[0].str())
    return ""

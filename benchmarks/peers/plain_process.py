"""confluent-kafka and a dict, which nothing makes durable: about as fast as Python with this codec gets."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, Message, Producer

from benchmarks.peers import verdicts
from benchmarks.peers.process import Meter, Work, told
from benchmarks.stage_input import campaigns

BATCH_RECORDS_MAX = 2000
POLL_S = 1.0
FLUSH_TIMEOUT_S = 30.0

Send = Callable[[str, bytes, bytes], None]
Process = Callable[[Message], None]


def qualify(work: Work, send: Send) -> Process:
    outcomes, matches = work.topic("outcomes"), work.topic("matches")
    judge = verdicts.Judge(work.topology.windows, campaigns).judge
    memories: dict[bytes, verdicts.Memory] = {}

    def process(message: Message) -> None:
        key = message.key() or b""
        memory = memories.get(key)
        if memory is None:
            memory = memories[key] = []
        completion = verdicts.decode_completion(message.value())
        judged = judge(completion, message.partition() or 0, message.offset() or 0, memory)
        send(outcomes, key, verdicts.encode_outcome(judged.outcome))
        for match in judged.matches:
            send(matches, verdicts.key_of(match), verdicts.encode_match(match))

    return process


def dedup(work: Work, send: Send) -> Process:
    deliveries, duplicates = work.topic("deliveries"), work.topic("duplicates")
    first: dict[bytes, str] = {}

    def process(message: Message) -> None:
        key, value = message.key() or b"", message.value() or b""
        match = verdicts.decode_match(value)
        duplicate = verdicts.duplicate_of(match, first.setdefault(key, match.completion_id))
        if duplicate is None:
            send(deliveries, key, value)
        else:
            send(duplicates, key, verdicts.encode_duplicate(duplicate))

    return process


def empty(work: Work, send: Send) -> Process:
    return lambda _message: None


def main() -> None:
    work = told()
    meter = Meter(work)
    consumer = Consumer(
        {
            "bootstrap.servers": work.bootstrap,
            "group.id": work.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": work.bootstrap,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
        }
    )

    def send(topic: str, key: bytes, value: bytes) -> None:
        while True:
            try:
                producer.produce(topic, value, key)
                return
            except BufferError:
                producer.poll(0.05)

    process = {"empty": empty, "qualify": qualify, "dedup": dedup}[work.way](work, send)
    consumer.subscribe([work.source])
    last = False
    while not last:
        messages = consumer.consume(BATCH_RECORDS_MAX, POLL_S)
        if not messages:
            continue
        for message in messages:
            process(message)
        if producer.flush(FLUSH_TIMEOUT_S):
            raise SystemExit("outputs were not acknowledged")
        consumer.commit(asynchronous=False)
        last = meter.count(len(messages))
    meter.end()
    consumer.close()


if __name__ == "__main__":
    main()

"""Fills topics directly, as the edge would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from benchmarks.load.completions import completion, for_stages
from benchmarks.load.generation import LoadBroken
from benchmarks.load.questionnaire import ANSWER_SETS, Wire
from benchmarks.load.scene import Scene
from ops.demo.phones import demo_phone
from pipeline.runtime.kafka_clients import idempotent_producer
from schemas import ids
from schemas.codec import codec
from schemas.records import Answer, Completion, Personal

FLUSH_TIMEOUT_S = 60.0
FULL_POLL_S = 0.05
RECORD_BYTES_MAX = 1_048_576


def as_received(scene: Scene, numbers: Iterable[int], contact_key: bytes, at_ms: int) -> Iterator[Completion]:
    """As the edge makes them of the requests of a load: each by another contact, all at one moment."""
    quiz = scene.questionnaire
    wire = Wire(quiz, "", "")
    answers: dict[tuple[bool, int], dict[str, Answer]] = {}
    for number in numbers:
        of = (quiz.matches(number), number % ANSWER_SETS)
        if of not in answers:
            answers[of] = msgspec.json.decode(wire.body(number))["answers"]
        phone = demo_phone(quiz.quiz_id, number)
        contact = ids.contact_id(contact_key, scene.tenant_id, phone)
        yield completion(
            number,
            contact,
            at_ms,
            completion_id=ids.completion_id(scene.tenant_id, quiz.quiz_id, str(number), contact),
            tenant_id=scene.tenant_id,
            quiz_id=quiz.quiz_id,
            day=ids.day_of(at_ms),
            answers=answers[of],
            personal=Personal(phone=phone),
        )


def fill(bootstrap: str, records: Iterable[tuple[str, bytes, bytes]], at_ms: int = 0) -> None:
    """Writes topic, key and value of each, all of that time, by default now.

    Raises LoadBroken unless all are acknowledged.
    """
    producer = idempotent_producer(
        bootstrap,
        "quizstream-bench",
        record_bytes_max=RECORD_BYTES_MAX,
        linger_ms=20,
        delivery_timeout_ms=300_000,
    )
    failed = 0

    def report(error: object, _message: object) -> None:
        nonlocal failed
        failed += error is not None

    for topic, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=report, timestamp=at_ms)
                break
            except BufferError:
                producer.poll(FULL_POLL_S)
        producer.poll(0)
    if (left := producer.flush(FLUSH_TIMEOUT_S)) or failed:
        raise LoadBroken(f"{left + failed:,} records were not acknowledged")


def fill_for_stages(bootstrap: str, topic: str, count: int) -> None:
    """Raises LoadBroken."""
    encode = codec("completion").encode
    fill(bootstrap, ((topic, each.contact_id.encode(), encode(each)) for each in for_stages(count)))

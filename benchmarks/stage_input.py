"""What the stages are measured on: completions of many people, of which each matches one campaign."""

from collections.abc import Iterator
from uuid import UUID

from pipeline.campaigns.registry import CampaignBook, Campaigns
from pipeline.runtime.kafka_clients import idempotent_producer
from schemas.codec import codec
from schemas.records import Answer, Campaign, Completion, Condition, Message, Personal

ACCEPTED_AT_MS = 1_770_000_000_000
QUESTIONS = 25
COMPLETIONS_PER_CONTACT = 2
CAMPAIGNS = 10


def campaigns() -> Campaigns:
    """Ten campaigns of one quiz; each completion's score lies in the band of one."""
    book = CampaignBook(lambda: ACCEPTED_AT_MS)
    for index in range(CAMPAIGNS):
        book.apply(
            Campaign(
                campaign_id=f"campaign-{index}",
                version=1,
                tenant_id="bench",
                name="",
                quiz_ids=["quiz"],
                active=True,
                effective_at=0,
                month=0,
                conditions=[
                    Condition("score", "gte", [float(index)]),
                    Condition("score", "lt", [index + 1.0]),
                ],
                message=Message(kind="text", text="hello"),
            )
        )
    book.go_live()
    return book.snapshot()


def completions(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and encoded values."""
    encode = codec("completion").encode
    answers: dict[str, Answer] = {f"q{question}": str(question % 5) for question in range(QUESTIONS)}
    for number in range(count):
        person = number % max(1, count // COMPLETIONS_PER_CONTACT)
        contact = f"{person:032x}"
        event = Completion(
            completion_id=str(UUID(int=number)),
            tenant_id="bench",
            quiz_id="quiz",
            quiz_version=1,
            contact_id=contact,
            day=0,
            submitted_at=ACCEPTED_AT_MS + number,
            accepted_at=ACCEPTED_AT_MS + number,
            answers=answers,
            personal=Personal(phone=f"+55119{person % 10**8:08d}"),
            score=float(person % CAMPAIGNS),
        )
        yield contact.encode(), encode(event)


def fill(bootstrap: str, topic: str, count: int) -> None:
    """Write so many completions to the topic. Raises RuntimeError when some were not acknowledged."""
    producer = idempotent_producer(
        bootstrap,
        "quizstream-bench",
        record_bytes_max=1_000_000,
        linger_ms=20,
        delivery_timeout_ms=300_000,
    )
    failed = 0

    def report(error: object, _message: object) -> None:
        nonlocal failed
        failed += error is not None

    for key, value in completions(count):
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=report)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    if producer.flush(60) or failed:
        raise RuntimeError(f"{failed} records of the bench's input were not acknowledged")

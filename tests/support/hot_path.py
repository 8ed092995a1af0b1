"""The code that every completion passes, without servers: the edge's handler and the judging stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.load.questionnaire import CHOSEN, YES, Questionnaire, Wire
from ingest_api.completions.receive import ReceiveCompletion, Stamp
from ingest_api.http.reply import Reply
from ingest_api.kafka.producer import Publisher
from ingest_api.reference.loader import ReferenceData
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.tokens import Tokens
from pipeline.campaigns.registry import CampaignBook
from pipeline.runtime.record import Record
from pipeline.stages.contract import StageResult
from pipeline.stages.qualify import Qualify, Wiring
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from schemas.ids import campaign_month
from schemas.records import Campaign, Condition, Message, Question, Quiz

TOPOLOGY = Path(__file__).resolve().parents[2] / "topology.yaml"
AT_MS = 1_790_000_000_000
QUIZ = Questionnaire("quiz", matching_percent=10)
TENANT_ID = "tenant"
CAMPAIGNS = 10


class _KeptPublisher(Publisher):
    """Keeps what would go to Kafka."""

    def __init__(self) -> None:
        self.kept: list[tuple[bytes, bytes]] = []

    def require_open(self) -> None:
        return

    async def publish(self, topic: str, key: bytes, value: bytes) -> None:
        self.kept.append((key, value))


class _KnownReferenceData(ReferenceData):
    def __init__(self) -> None:
        return

    @property
    def caught_up(self) -> bool:
        return True


class EdgePath:
    """The edge's handler of completions, from the bytes of a body to the record that is produced."""

    def __init__(self, topology: Topology | None = None) -> None:
        topology = topology or load(TOPOLOGY)
        questions = [Question(question_id=question) for question in QUIZ.questions]
        quizzes = Quizzes()
        quizzes.on_event(b"quiz", Quiz(QUIZ.quiz_id, TENANT_ID, 1, "Quiz", questions, AT_MS))
        self._log = _KeptPublisher()
        self._wire = Wire(QUIZ, "localhost", "token")
        self._handle = ReceiveCompletion(
            topology.edge,
            topology.topic("completions"),
            codec("completion"),
            self._log,
            _KnownReferenceData(),
            quizzes,
            Tokens(),
            Stamp(b"key", now_ms=lambda: AT_MS, random_bytes=bytes),
        )

    def requests(self, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """What the server hands over for each: scope, and the message with the body."""
        return [self._request(number) for number in range(count)]

    def _request(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        body = self._wire.body(number)
        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"idempotency-key", b"%09d" % number),
        ]
        scope = {"type": "http", "method": "POST", "path_params": {"quiz_id": QUIZ.quiz_id}}
        return {**scope, "headers": headers}, {"type": "http.request", "body": body, "more_body": False}

    def pass_through(self, requests: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        for scope, message in requests:

            async def receive(message: dict[str, Any] = message) -> dict[str, Any]:
                return message

            reply = _run_at_once(self._handle(scope, receive))
            assert reply.status == 202

    def records(self) -> list[Record]:
        """What was produced so far, as the stage reads it."""
        return [
            Record("completions", 0, offset, AT_MS, key, value)
            for offset, (key, value) in enumerate(self._log.kept)
        ]


class StagePath:
    """The stage that judges completions, from encoded records to encoded outputs; its state is empty."""

    def __init__(self, topology: Topology | None = None) -> None:
        topology = topology or load(TOPOLOGY)
        book = CampaignBook(lambda: AT_MS)
        for index in range(CAMPAIGNS):
            book.apply(_campaign(index))
        book.go_live()
        self._stage = Qualify(Wiring("outcomes", "matches", "state", topology.windows), book.snapshot)

    def pass_through(self, records: Sequence[Record]) -> StageResult:
        return self._stage.process(records, lambda _table, keys: [None] * len(keys))


def _campaign(index: int) -> Campaign:
    """The first is the one that requests may match."""
    wanted = YES if index == 0 else f"other {index}"
    return Campaign(
        campaign_id=str(UUID(int=index)),
        version=1,
        tenant_id=TENANT_ID,
        name="",
        quiz_ids=[QUIZ.quiz_id],
        active=True,
        effective_at=0,
        month=campaign_month(AT_MS),
        conditions=[Condition(field=f"answers.{CHOSEN}", op="eq", values=[wanted])],
        message=Message(kind="text", text="hello"),
    )


def _run_at_once(coroutine: Any) -> Reply:
    """Runs what never really waits, without a loop whose own calls would be counted."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        reply: Reply = ended.value
        return reply
    raise AssertionError("it waited")

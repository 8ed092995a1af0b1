"""A running edge on real brokers, for tests: its own topics, some quizzes, and clients to ask it with."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingest_api.completions.receive import Stamp
from ingest_api.http.lifecycle import Lifecycle
from ingest_api.http.sockets import listening
from ingest_api.limits.connections import Connections, descriptors
from ingest_api.server import BACKLOG, make_app, make_server, sources_of
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from pipeline.topology.model import Topic, Topology
from schemas.codec import codec
from schemas.records import Completion, Progress, Question, Quiz, Tenant, Token, WebhookKey
from sinks.postgres.connect import connect
from tests.support.producer import delivered, make_producer

READY_WITHIN_S = 120.0  # a bound on a hang, not a promise
SERVICE_TOKEN = "a-service-token"
OTHER_TENANTS_TOKEN = "another-tenants-token"
REVOKED_TOKEN = "a-revoked-token"
ROLES = (
    "completions",
    "provider_webhooks",
    "progress",
    "quizzes",
    "tokens",
    "tenants",
    "webhook_keys",
)

QUIZZES = (
    Quiz(
        "capitals",
        "acme",
        3,
        "Capitals",
        [Question("q1", right_answer="4"), Question("q2", right_answer="Brasília"), Question("q3")],
        created_at=0,
    ),
    Quiz(
        "survey",
        "acme",
        2,
        "Survey",
        [Question("color"), Question("size")],
        created_at=0,
        former_questions=["flavour"],
    ),
    Quiz("anything", "acme", 1, "Anything", [], created_at=0),
    Quiz("closed", "acme", 2, "Closed", [], created_at=0, open=False),
)
TOKENS = (
    (SERVICE_TOKEN, Token(hashlib.sha256(SERVICE_TOKEN.encode()).hexdigest(), "*", 1)),
    (OTHER_TENANTS_TOKEN, Token(hashlib.sha256(OTHER_TENANTS_TOKEN.encode()).hexdigest(), "umbrella", 1)),
    (REVOKED_TOKEN, Token(hashlib.sha256(REVOKED_TOKEN.encode()).hexdigest(), "*", 2, revoked=True)),
)


# For tests of limits, whose clients would be judged as scripts: settings of `edge.abuse`.
UNJUDGED = {"delay_points": 10**9, "challenge_points": 10**9 + 1, "block_points": 10**9 + 2}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of a problem. The media type, status and title are checked on the way."""
        problem = self.json
        assert self.headers["content-type"] == "application/problem+json"
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return str(problem["type"]).removeprefix("/problems/")


@dataclass(frozen=True)
class Edge:
    port: int
    settings: Settings
    topology: Topology
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    stop: Callable[[], None] = lambda: None  # as by SIGTERM; returns at once

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()

    def submit(self, quiz_id: str, content: Any, **headers: str) -> Answer:
        """`content` is encoded unless it is bytes; `idempotency_key="x"` is the header Idempotency-Key."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(
            "POST", f"/quiz/{quiz_id}/completions", body, {"content-type": "application/json"} | named
        )

    def report(self, quiz_id: str, content: Any, **headers: str) -> Answer:
        """A report of progress, as `submit`."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(
            "POST", f"/quiz/{quiz_id}/progress", body, {"content-type": "application/json"} | named
        )

    def webhook(
        self, body: bytes, signature: str | None = None, path: str = "/webhooks/meta-cloud"
    ) -> Answer:
        signed = (
            signature or "sha256=" + hmac.new(self.settings.webhook_secret, body, hashlib.sha256).hexdigest()
        )
        return self.ask("POST", path, body, {"x-hub-signature-256": signed})

    def completions(self) -> list[Completion]:
        """Everything accepted so far, read from the topic."""
        return [
            codec("completion").decode(value)
            for _key, value in records_of(self.settings, self.topology.topic("completions"))
        ]


def reports(edge: Edge) -> list[Progress]:
    """Every report of progress accepted so far, read from the topic."""
    topic = edge.topology.topic("progress")
    return [codec("progress").decode(value) for _key, value in records_of(edge.settings, topic)]


def settings_for(bootstrap: str, namespace: str) -> Settings:
    settings = Settings.from_env({"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "QUIZSTREAM_NAMESPACE": namespace})
    return replace(settings, home=Path("/nonexistent"))


def prepare(settings: Settings) -> Topology:
    """Makes the topics, and tells the reference data."""
    topology = load(settings.topology_file, settings.topic_namespace)
    topics = [topology.topic(role) for role in ROLES]
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    made = admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions,
                settings.replication_factor,
                config={"max.message.bytes": str(topic.record_bytes_max)},
            )
            for topic in topics
        ]
    )
    for future in made.values():
        future.result()
    producer = make_producer(settings.kafka_bootstrap_servers)
    for quiz in QUIZZES:
        producer.produce(topology.topic("quizzes").name, codec("quiz").encode(quiz), quiz.quiz_id)
    for _secret, token in TOKENS:
        producer.produce(topology.topic("tokens").name, codec("token").encode(token), token.token_hash)
    other = Tenant("elsewhere", 1, {"quiz": 1_000_000})  # none of the quizzes is its
    producer.produce(topology.topic("tenants").name, codec("tenant").encode(other), other.tenant_id)
    key = WebhookKey("nobodys-number", "uazapi", 1, "of no key")
    producer.produce(topology.topic("webhook_keys").name, codec("webhook_key").encode(key), key.number_id)
    delivered(producer)
    return topology


def store_quizzes(database_url: str) -> None:
    """Put the quizzes into the tables too, from which their pages are read."""
    with connect(database_url, "test") as connection:
        for quiz in QUIZZES:
            connection.execute(
                "INSERT INTO tenants (tenant_id, name) VALUES (%s, 'Acme') ON CONFLICT DO NOTHING",
                [quiz.tenant_id],
            )
            connection.execute(
                "INSERT INTO quizzes (quiz_id, tenant_id, version, title, questions, open)"
                " VALUES (%s, %s, %s, %s, %s::jsonb, %s)",
                [
                    quiz.quiz_id,
                    quiz.tenant_id,
                    quiz.version,
                    quiz.title,
                    json.dumps([msgspec.to_builtins(question) for question in quiz.questions]),
                    quiz.open,
                ],
            )


def records_of(settings: Settings, topic: Topic) -> list[tuple[bytes, bytes]]:
    """Key and value of everything in the topic at the call, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": "reads-all",
            "fetch.wait.max.ms": 20,
        }
    )
    records: list[tuple[bytes, bytes]] = []
    give_up_at = time.monotonic() + READY_WITHIN_S
    try:
        places = [TopicPartition(topic.name, partition, 0) for partition in range(topic.partitions)]
        ends = [consumer.get_watermark_offsets(place, timeout=READY_WITHIN_S)[1] for place in places]
        consumer.assign([place for place, end in zip(places, ends, strict=True) if end])
        while len(records) < sum(ends):
            assert time.monotonic() < give_up_at, f"{len(records)} of {sum(ends)} records"
            for message in consumer.consume(500, 0.05):
                if (error := message.error()) is not None:
                    assert not error.fatal(), error.str()  # the client tries again after any other
                elif int(message.offset() or 0) < ends[int(message.partition() or 0)]:
                    records.append((bytes(message.key() or b""), bytes(message.value() or b"")))
    finally:
        consumer.close()
    return records


@contextmanager
def running(settings: Settings, topology: Topology, stamp: Stamp | None = None) -> Iterator[Edge]:
    """An edge in a thread of this process. It may not be ready yet: see `wait_ready`."""
    connections = Connections(topology.edge.connections, sources_of(settings, topology), descriptors())
    lifecycle = Lifecycle()
    app = make_app(settings, topology, stamp, lifecycle=lifecycle, connections=connections)
    server = make_server(app, connections, lifecycle)
    sockets = listening("localhost", 0, BACKLOG)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        wait_until(lambda: server.started, "the edge to listen")
        port = sockets[0].getsockname()[1]
        yield Edge(port, settings, topology, lifecycle, lambda: setattr(server, "should_exit", True))
    finally:
        server.should_exit = True
        thread.join(READY_WITHIN_S)
        assert not thread.is_alive()


def wait_ready(edge: Edge) -> None:
    wait_until(lambda: edge.ask("GET", "/health/ready").status == 200, "the edge to be ready")


def wait_until(holds: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    while not holds():
        assert time.monotonic() < give_up_at, f"waited for {what}"
        time.sleep(0.05)

"""One person's whole story, written into real topics and tables by hand: what a pipeline leaves behind."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from ops import locate
from ops.audit.provider_record import Call
from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from ops.topics.command import apply
from pipeline.runtime.topic_offsets import TopicOffsets
from pipeline.topology.model import Topology
from schemas import ids
from schemas.codec import codec
from schemas.records import (
    Completion,
    DeliveryEvent,
    Duplicate,
    Match,
    MatchedCampaign,
    Outcome,
    Personal,
)
from sinks.postgres.schema.migrate import migrate
from tests.support.producer import delivered, make_producer

TOPOLOGY_FILE = Path(__file__).resolve().parents[2] / "topology.yaml"
CAMPAIGN = "boas-vindas"
PHONE = "+5511987654321"
ACCEPTED_AT_MS = 1_790_000_000_000
PARTITIONED = ("completions", "outcomes", "duplicates", "deliveries")


def deployed(urls: ServerUrls, database_url: str, namespace: str, home: Path) -> Deployment:
    """Topics and tables in a corner of their own."""
    # One partition each: many tests share one broker.
    topology = re.sub(r"partitions: \d+", "partitions: 1", TOPOLOGY_FILE.read_text())
    (home / "topology.yaml").write_text(topology)
    env = {
        **urls.as_env(),
        "QUIZSTREAM_TOPOLOGY": str(home / "topology.yaml"),
        "DATABASE_URL": database_url,
        "QUIZSTREAM_NAMESPACE": namespace,
        "QUIZSTREAM_HOME": str(home),
        "QUIZSTREAM_SIMULATOR_URL": "http://127.0.0.1:9",  # nobody listens: the record is the home's file
    }
    found = locate.find(env)
    apply(found.topology, urls.kafka_bootstrap, 1)
    migrate(database_url)
    with psycopg.connect(database_url) as connection:
        for table in PARTITIONED:
            connection.execute(f"CREATE TABLE {table}_all PARTITION OF {table} DEFAULT")
    return found


@dataclass(frozen=True)
class Story:
    """Of two completions of one contact: the first was written to, the second is its duplicate."""

    found: Deployment
    first: str
    second: str
    delivery_id: str
    attempt_id: str

    def sql(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.found.settings.database_url) as connection:
            connection.execute(statement, parameters)

    def produce(self, role: str, key: bytes, event: Any) -> None:
        topic = self.found.topology.topic(role)
        producer = make_producer(self.found.settings.kafka_bootstrap_servers)
        value = event if isinstance(event, bytes) else codec(topic.schema or "").encode(event)
        producer.produce(topic.name, value, key)
        delivered(producer)

    def record(self, call: Call) -> None:
        path = self.found.settings.home / "simulator" / "calls.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(msgspec.json.encode(call) + b"\n")

    def forget_topics(self) -> None:
        """Topics delete what they hold, as after their retention."""
        bootstrap, topics = self.found.settings.kafka_bootstrap_servers, self.found.topology.topics.values()
        with TopicOffsets(bootstrap) as brokers:
            ends = brokers.ends({topic.name: topic.partitions for topic in topics if not topic.compact})
        admin = AdminClient({"bootstrap.servers": bootstrap})
        places = [TopicPartition(topic, *place) for topic, of in ends.items() for place in of.items()]
        for future in admin.delete_records(places).values():
            future.result()

    def everybody_has_read_everything(self) -> None:
        """Stages and sinks stand at the ends of their topics."""
        settings, topology = self.found.settings, self.found.topology
        admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
        brokers = TopicOffsets(settings.kafka_bootstrap_servers)
        ends = brokers.ends({topic.name: topic.partitions for topic in topology.topics.values()})
        brokers.close()
        for group, topics in _readers(topology).items():
            places = [
                TopicPartition(topic, partition, end)
                for topic in topics
                for partition, end in ends[topic].items()
            ]
            asked = [ConsumerGroupTopicPartitions(group, places)]
            for future in admin.alter_consumer_group_offsets(asked).values():
                future.result()
        for sink in topology.sinks.values():
            for partition, end in ends[sink.source.name].items():
                self.sql(
                    "INSERT INTO sink_offsets (sink, topic, partition, next_offset) VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT (sink, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
                    *(sink.name, sink.source.name, partition, end),
                )


def _readers(topology: Topology) -> dict[str, set[str]]:
    groups = {topology.stream.group: {agent.source.name for agent in topology.agents.values()}}
    for sink in topology.sinks.values():
        groups[sink.group] = {sink.source.name}
    return groups


def told(found: Deployment) -> Story:
    contact_id = ids.contact_id(b"key", "t", PHONE)
    first, second = (ids.completion_id("t", "q", key, contact_id) for key in ("a", "b"))
    story = Story(found, first, second, ids.delivery_id(CAMPAIGN, contact_id), str(uuid4()))
    day = ids.day_of(ACCEPTED_AT_MS)
    key = contact_id.encode()
    match_key = ids.match_key(CAMPAIGN, contact_id)
    for number, completion_id in enumerate((first, second)):
        at_ms = ACCEPTED_AT_MS + number
        personal = Personal(phone=PHONE, name="Maria Segredo")
        completion = Completion(
            completion_id, "t", "q", 1, contact_id, day, at_ms, at_ms, {"cor": "azul"}, personal
        )
        story.produce("completions", key, completion)
        outcome = Outcome(
            *(completion_id, "t", "q", contact_id, day, at_ms, "matched", 0, number),
            campaigns=[MatchedCampaign(CAMPAIGN, 1)],
        )
        story.produce("outcomes", key, outcome)
        match = Match(
            *(story.delivery_id, "t", CAMPAIGN, 1, day, contact_id, completion_id, "q", day, at_ms, {}),
            personal=personal,
        )
        story.produce("matches", match_key, match)
        if completion_id == first:
            story.produce("deliveries", match_key, match)
        else:
            duplicate = Duplicate("t", CAMPAIGN, contact_id, second, first, day, at_ms)
            story.produce("duplicates", match_key, duplicate)
        _rows(story, completion_id, contact_id)
    _delivered(story, contact_id)
    story.everybody_has_read_everything()
    return story


def _rows(story: Story, completion_id: str, contact_id: str) -> None:
    story.sql(
        "INSERT INTO completions (day, completion_id, tenant_id, quiz_id, quiz_version, contact_id,"
        " submitted_at, accepted_at, answers) VALUES ('2026-09-21', %s, 't', 'q', 1, %s, now(), now(), '{}')",
        *(completion_id, contact_id),
    )
    story.sql(
        "INSERT INTO outcomes (day, completion_id, tenant_id, quiz_id, contact_id, accepted_at, verdict,"
        " campaigns) VALUES ('2026-09-21', %s, 't', 'q', %s, now(), 'matched', %s)",
        *(completion_id, contact_id, f'[{{"campaign_id": "{CAMPAIGN}", "version": 1}}]'),
    )
    if completion_id == story.second:
        story.sql(
            "INSERT INTO duplicates (day, completion_id, campaign_id, tenant_id, contact_id,"
            " first_completion_id, accepted_at) VALUES ('2026-09-21', %s, %s, 't', %s, %s, now())",
            *(completion_id, CAMPAIGN, contact_id, story.first),
        )


def _delivered(story: Story, contact_id: str) -> None:
    story.sql(
        "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
        " campaign_version, completion_id, completion_day, state, due_at, attempts, provider_message_id)"
        " VALUES ('2026-09-01', %s, %s, %s, 't', 1, %s, '2026-09-21', 'delivered', now(), 1, 'wamid.1')",
        *(CAMPAIGN, contact_id, story.delivery_id, story.first),
    )
    story.sql(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, finished_at, outcome,"
        " provider_message_id) VALUES (%s, %s, '5511', 1, clock_timestamp(), 'sent', 'wamid.1')",
        *(story.attempt_id, story.delivery_id),
    )
    story.sql(
        "INSERT INTO provider_statuses (provider, provider_message_id, status, attempt_id, at)"
        " VALUES ('meta-cloud', 'wamid.1', 'delivered', %s, clock_timestamp())",
        UUID(story.attempt_id),
    )
    story.record(Call(time.time(), "5511", PHONE.removeprefix("+"), story.attempt_id, "wamid.1", 200))
    event = DeliveryEvent(
        *(story.delivery_id, "t", CAMPAIGN, contact_id, story.first, 2, "sent", int(time.time() * 1000))
    )
    story.produce("delivery_events", story.delivery_id.encode(), event)

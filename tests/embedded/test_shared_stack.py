"""The servers that the tests share are real, and each test has a corner of its own."""

from __future__ import annotations

import psycopg
import redis
from confluent_kafka.admin import AdminClient

from ops.embedded.stack import ServerUrls


def test_all_three_servers_answer(stack: ServerUrls) -> None:
    brokers = AdminClient({"bootstrap.servers": stack.kafka_bootstrap}).list_topics(timeout=10).brokers
    with psycopg.connect(stack.database_url) as connection:
        version = connection.info.server_version
    assert len(brokers) == 1
    assert version >= 180000
    assert redis.Redis.from_url(stack.redis_url).ping()


def test_a_test_has_an_empty_database(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_a_namespace_ends_in_a_dot(namespace: str) -> None:
    assert namespace.endswith(".")
    assert len(namespace) < 20

"""A consumer that knows nothing of this project reads its topics, with Confluent's own deserializer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas import catalogue
from schemas.codec import codec
from schemas.records import Campaign, Completion, Condition, Message, Personal


class Registry(BaseHTTPRequestHandler):
    """What a registry has to answer a reader: schemas by id, and a 404 to what it can do without."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        schema_id = path.removeprefix("/schemas/ids/")
        if schema_id != path:
            self._reply(200, {"schema": catalogue.by_id()[int(schema_id)].text})
        else:
            self._reply(404, {"error_code": 404, "message": "HTTP 404 Not Found"})

    def _reply(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def client() -> Iterator[SchemaRegistryClient]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SchemaRegistryClient({"url": f"http://127.0.0.1:{server.server_address[1]}"})
    server.shutdown()
    server.server_close()


def context(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


def test_a_stock_deserializer_reads_a_completion(client: SchemaRegistryClient) -> None:
    sent = Completion(
        completion_id="i",
        tenant_id="acme",
        quiz_id="bfi",
        quiz_version=3,
        contact_id="c" * 32,
        day=20_000,
        submitted_at=1_728_000_000_123,
        accepted_at=1_728_000_000_456,
        answers={"text": "sim", "whole": 3, "part": 2.5, "flag": True, "many": ["a", "b"]},
        personal=Personal(phone="+5511999999999"),
        score=12.0,
    )
    read: Any = AvroDeserializer(client)(codec("completion").encode(sent), context("quiz"))
    assert read["answers"] == sent.answers
    assert read["answers"]["flag"] is True
    assert read["personal"] == {"phone": "+5511999999999", "name": None, "email": None}
    # Out there, logical types are what they say.
    assert read["day"] == date(2024, 10, 4)
    assert read["submitted_at"] == datetime(2024, 10, 4, 0, 0, 0, 123_000, UTC)


def test_a_stock_deserializer_reads_with_a_schema_that_it_was_given(client: SchemaRegistryClient) -> None:
    sent = Campaign("c", 1, "acme", "Boas vindas", ["bfi"], True, 1, 19_997,
                    [Condition("score", "gte", [8.0])], Message("text", text="Olá {nome}"))  # fmt: skip
    given = catalogue.current("campaign").text
    read: Any = AvroDeserializer(client, given)(codec("campaign").encode(sent), context("campaigns"))
    assert read["message"]["text"] == "Olá {nome}"
    assert read["conditions"] == [{"field": "score", "op": "gte", "values": [8.0]}]

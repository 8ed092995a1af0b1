"""The read half of a Confluent schema registry, answered from the catalogue, for stock clients.

A path in, a status and a JSON document out; a web server puts it on the wire, under a prefix of its choice.
A path in, a status and a JSON document out; a web server puts it on the wire, with any prefix before it.
without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from schemas import catalogue

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
SUBJECT_SUFFIX = "-value"  # of a topic's values, as every client's default strategy has it


@dataclass(frozen=True)
class Answer:
    status: int
    document: Any


_NO_SUBJECT = Answer(404, {"error_code": 40401, "message": "Subject not found."})
_NO_VERSION = Answer(404, {"error_code": 40402, "message": "Version not found."})
_NO_SCHEMA = Answer(404, {"error_code": 40403, "message": "Schema not found"})
_NO_ROUTE = Answer(404, {"error_code": 404, "message": "HTTP 404 Not Found"})


def answer(path: str, events: Mapping[str, str]) -> Answer:
    """`events` says which event lies in each topic: physical topic name to event name."""
    subjects = {f"{topic}{SUBJECT_SUFFIX}": event for topic, event in events.items()}
    match [unquote(part) for part in path.strip("/").split("/")]:
        case ["schemas", "types"]:
            return Answer(200, ["AVRO"])
        case ["schemas", "ids", schema_id]:
            schema = _by_id(schema_id)
            return _NO_SCHEMA if schema is None else Answer(200, {"schema": schema.text})
        case ["schemas", "ids", schema_id, "versions"]:
            schema = _by_id(schema_id)
            if schema is None:
                return _NO_SCHEMA
            of = [subject for subject, event in subjects.items() if event == schema.event]
            version = catalogue.versions(schema.event).index(schema) + 1
            return Answer(200, [{"subject": subject, "version": version} for subject in sorted(of)])
        case ["subjects"]:
            return Answer(200, sorted(subjects))
        case ["subjects", subject, "versions"]:
            if subject not in subjects:
                return _NO_SUBJECT
            return Answer(200, list(range(1, len(catalogue.versions(subjects[subject])) + 1)))
        case ["subjects", subject, "versions", version]:
            return _version(subjects, subject, version)
        case _:
            return _NO_ROUTE


def _version(subjects: Mapping[str, str], subject: str, version: str) -> Answer:
    if subject not in subjects:
        return _NO_SUBJECT
    versions = catalogue.versions(subjects[subject])
    number = _number(version, len(versions)) if version != "latest" else len(versions)
    if number is None:
        return _NO_VERSION
    schema = versions[number - 1]
    return Answer(200, {"subject": subject, "version": number, "id": schema.schema_id, "schema": schema.text})


def _by_id(text: str) -> catalogue.Schema | None:
    number = _number(text, 2**31 - 1)
    return None if number is None else catalogue.by_id().get(number)


def _number(text: str, largest: int) -> int | None:
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        return None
    return int(text) if 1 <= int(text) <= largest else None

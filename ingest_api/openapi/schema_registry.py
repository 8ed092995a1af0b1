"""The read half of the Confluent Schema Registry API: a standard deserializer needs no other registry.

Schemas come from `schemas/`. Subjects are `<topic>-value`, for every topic that has a schema.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest_api.http.problems import UNKNOWN_SCHEMA, Problem, Rejection
from ingest_api.http.reply import Receive, Reply, Scope
from pipeline.topology.model import Topology
from schemas import catalogue
from schemas.catalogue import Schema

REGISTRY_JSON = b"application/vnd.schemaregistry.v1+json"
ID_DIGITS_MAX = 10

# Error codes of the API: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
SUBJECT_NOT_FOUND = 40401
VERSION_NOT_FOUND = 40402
SCHEMA_NOT_FOUND = 40403


class Registry:
    def __init__(self, topology: Topology) -> None:
        self._subjects: dict[str, Sequence[Schema]] = {
            f"{topic.name}-value": catalogue.versions(topic.schema)
            for topic in topology.topics.values()
            if topic.schema is not None
        }

    async def schema(self, scope: Scope, _receive: Receive) -> Reply:
        """`GET /schemas/ids/{id}`"""
        given = scope["path_params"]["id"]
        known = catalogue.by_id().get(_number(given))
        if known is None:
            raise _unknown(SCHEMA_NOT_FOUND, "Schema not found")
        return _reply({"schema": known.text})

    async def types(self, _scope: Scope, _receive: Receive) -> Reply:
        """`GET /schemas/types`"""
        return _reply(["AVRO"])

    async def subjects(self, _scope: Scope, _receive: Receive) -> Reply:
        """`GET /subjects`"""
        return _reply(sorted(self._subjects))

    async def versions(self, scope: Scope, _receive: Receive) -> Reply:
        """`GET /subjects/{subject}/versions`"""
        return _reply(list(range(1, 1 + len(self._of(scope)))))

    async def version(self, scope: Scope, _receive: Receive) -> Reply:
        """`GET /subjects/{subject}/versions/{version}`; a version is a number or `latest`."""
        known = self._of(scope)
        given = scope["path_params"]["version"]
        version = len(known) if given in ("latest", "-1") else _number(given)
        if not 1 <= version <= len(known):
            raise _unknown(VERSION_NOT_FOUND, "Version not found")
        schema = known[version - 1]
        return _reply(
            {
                "subject": scope["path_params"]["subject"],
                "version": version,
                "id": schema.schema_id,
                "schemaType": "AVRO",
                "schema": schema.text,
            }
        )

    def _of(self, scope: Scope) -> Sequence[Schema]:
        known = self._subjects.get(scope["path_params"]["subject"])
        if known is None:
            raise _unknown(SUBJECT_NOT_FOUND, "Subject not found")
        return known


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX else -1


def _reply(content: object) -> Reply:
    return Reply(200, msgspec.json.encode(content), REGISTRY_JSON)


def _unknown(code: int, message: str) -> Rejection:
    """Return a problem that also has the members which clients of a schema registry expect."""
    return Rejection(Problem(UNKNOWN_SCHEMA, message, extra={"error_code": code, "message": message}))

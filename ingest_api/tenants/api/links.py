"""Links of the OpenAPI document: from an answer to the operations of the object that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingest_api.tenants.api.operation import Operation


def links(one: Operation, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return what can be done next, by name of the link; empty for an operation without an object's id.

    The id is at `id_at` of the answer, or else the one of the request. Reading an object also gives the
    `If-Match` of its change.
    """
    if one.id_at:
        the_id = f"$response.body#{one.id_at}"
    elif one.of_object and one.method != "DELETE":
        the_id = "$request.path.id"
    else:
        return {}
    return {
        f"{one.name}-{other.name}": {
            "operationId": other.name,
            "parameters": {"path.id": the_id} | _condition(one, other),
        }
        for other in operations
        if other.of_object and other.collection == one.collection
    }


def _condition(one: Operation, other: Operation) -> dict[str, str]:
    if other.conditional and one.of_object and one.method == "GET":
        return {"header.If-Match": "$response.header.ETag"}
    return {}

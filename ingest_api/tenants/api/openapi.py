"""The OpenAPI 3.1 document of the tenant API, made from its operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import GenericAlias
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from ingest_api.tenants.api.links import links
from ingest_api.tenants.api.operation import Operation
from ingest_api.tenants.api.problems import CATALOGUE
from sinks.postgres.page import Page

VERSION = "1.0.0"
_REF = "#/components/schemas/{name}"
_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a signed token (JWT)."}
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [kind.type for kind in CATALOGUE]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "pointer": {"type": "string"},
    },
}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document: every route with its parameters, bodies, answers and rejections."""
    shapes: dict[Any, Any] = {}
    wanted = [_shape(given, shapes) for one in operations for given in (one.body, one.answer) if given]
    schemas, components = msgspec.json.schema_components(wanted, ref_template=_REF)
    by_shape = dict(zip(map(id, wanted), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        described = _described(one, shapes, by_shape)
        if found := links(one, operations):
            described["responses"][str(one.status)]["links"] = found
        paths.setdefault(one.path, {})[one.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "quizstream tenant API",
            "version": VERSION,
            "description": "Quizzes, campaigns, contacts and deliveries of one tenant.",
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": {**components, "Problem": _PROBLEM}, "securitySchemes": _SCHEMES},
    }


def _shape(given: Any, shapes: dict[Any, Any]) -> Any:
    """A NamedTuple is sent as an object, with the names of its fields."""
    if given not in shapes:
        if get_origin(given) is Page:
            (item,) = get_args(given)
            inner = _shape(item, shapes)
            fields: list[tuple[str, Any]] = [("items", GenericAlias(list, (inner,))), ("next", str | None)]
            shapes[given] = msgspec.defstruct(f"{item.__name__}Page", fields)
        elif isinstance(given, type) and issubclass(given, tuple):
            shapes[given] = msgspec.defstruct(given.__name__, list(get_type_hints(given).items()))
        else:
            shapes[given] = given
    return shapes[given]


def _described(one: Operation, shapes: dict[Any, Any], by_shape: dict[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"Needs the permission `{one.permission}`.",
        "parameters": _parameters(one),
        "responses": _responses(one, None if one.answer is None else by_shape[id(shapes[one.answer])]),
    }
    if one.body is not None:
        content = {"application/json": {"schema": by_shape[id(shapes[one.body])]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(one: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    path = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in re.findall(r"{(\w+)}", one.path)
    ]
    query = [
        {"name": name, "in": "query", "description": about, "schema": text}
        for name, about in one.query.items()
    ]
    headers = [_header("Quizstream-Tenant", "Of a platform token: the tenant for which it acts.")]
    if one.method == "POST":
        headers.append(_header("Idempotency-Key", "The same key makes a repetition change nothing."))
    if one.conditional:
        headers.append({**_header("If-Match", "The ETag of the object as it was read."), "required": True})
    return [*path, *query, *headers]


def _header(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _responses(one: Operation, schema: Any) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done."}
    if schema is not None:
        done["content"] = {"application/json": {"schema": schema}}
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    statuses = {400, 401, 403, 422, 429, 500, 503}
    if "{" in one.path:
        statuses.add(404)
    if one.body is not None:
        statuses |= {408, 409, 413, 415}
    if one.conditional:
        statuses |= {412, 428}
    if one.method in ("POST", "DELETE"):
        statuses.add(409)
    rejected = {str(status): {"description": "Rejected.", "content": problem} for status in sorted(statuses)}
    unchanged = {"304": {"description": "As If-None-Match states."}}
    return {str(one.status): done, **(unchanged if one.method == "GET" and not one.paged else {}), **rejected}

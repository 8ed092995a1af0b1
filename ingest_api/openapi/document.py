"""The edge's OpenAPI document, with the limits in force, and its catalogue of problems."""

from __future__ import annotations

from typing import Any

import msgspec

from ingest_api.http import problems
from ingest_api.http.problems import BY_SLUG, CATALOGUE, NOT_FOUND, Kind, rejection, shown
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.openapi import bodies, paths
from pipeline.topology.file import Edge

VERSION = "1.0.0"


class Description:
    """Both documents, built once: the limits do not change while the process runs."""

    def __init__(self, edge: Edge) -> None:
        self.document = document(edge)
        self._openapi = _document(self.document)
        self._problems = _document([_kind(kind) for kind in CATALOGUE])

    async def openapi(self, _scope: Scope, _receive: Receive) -> Reply:
        return self._openapi

    async def problems(self, _scope: Scope, _receive: Receive) -> Reply:
        return self._problems

    async def problem(self, scope: Scope, _receive: Receive) -> Reply:
        slug = scope["path_params"]["slug"]
        kind = BY_SLUG.get(slug)
        if kind is None:
            raise rejection(NOT_FOUND, f'there is no problem "{shown(slug)}"')
        return _document(_kind(kind))


def _document(content: Any) -> Reply:
    """It states the limit of one address, so that no shared cache may keep it."""
    return Reply(200, msgspec.json.encode(content), headers=((b"cache-control", b"private"),))


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "advice": kind.advice,
        "retry": kind.retry,
    }


def document(edge: Edge) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "quizstream edge",
            "version": VERSION,
            "description": "Accepts quiz completions; answers 202 only after a completion is durable.",
        },
        "paths": paths.paths(edge),
        "components": {
            "schemas": {
                "Submission": bodies.submission(edge),
                "Accepted": bodies.ACCEPTED,
                "Progress": bodies.progress(edge),
                "QuizPage": bodies.quiz_page(),
                "Problem": bodies.problem(problems.CATALOGUE),
            },
            "securitySchemes": {"service": {"type": "http", "scheme": "bearer"}},
        },
    }

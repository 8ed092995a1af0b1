"""Turns Starlette's own errors (404, 405, 500) into problem details."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ingest_api.http.cors import ANY_ORIGIN
from ingest_api.http.endpoint import INTERNAL_ERROR
from ingest_api.http.metrics import count
from ingest_api.http.problems import METHOD_NOT_ALLOWED, NOT_FOUND, Problem, shown
from ingest_api.http.reply import Headers, Reply, Scope

ROUTE = "none"

Shown = Callable[[Scope, Reply], Reply]  # the form and headers of a problem for one client


def handlers(shown_to: Shown) -> Mapping[Any, Any]:
    """Return Starlette's handlers of exceptions."""
    return {HTTPException: partial(not_routed, shown_to), Exception: failed}


def not_routed(shown_to: Shown, request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    return _response(shown_to(request.scope, _reply(request, status, headers)))


def failed(_request: Request, _error: Exception) -> Response:
    return _response(INTERNAL_ERROR)


def _reply(request: Request, status: int, headers: Mapping[str, str]) -> Reply:
    if status == METHOD_NOT_ALLOWED.status:
        raw: Headers = tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
        detail = f"{request.method} is not one of {headers.get('Allow', 'the allowed methods')}"
        return Problem(METHOD_NOT_ALLOWED, detail, headers=raw).reply()
    if status == NOT_FOUND.status:
        return Problem(NOT_FOUND, f"no route for {shown(request.url.path)}").reply()
    return INTERNAL_ERROR


def _response(reply: Reply) -> Response:
    count(ROUTE, reply.status, reply.problem, 0.0)
    response = Response(reply.body, reply.status, media_type=reply.media_type.decode())
    for name, value in (*reply.headers, *ANY_ORIGIN):
        response.headers[name.decode()] = value.decode()
    return response

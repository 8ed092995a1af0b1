"""Serves operations: authentication, permission, body, one transaction of the tenant, and the answer."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import psycopg

from ingest_api.http.body import read_body, require_json
from ingest_api.http.json_errors import misshapen, not_json, require_each_key_once
from ingest_api.http.problems import REPEATED_HEADER, Rejection, rejection, shown
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.tenants.access.authenticate import Authenticate
from ingest_api.tenants.access.hashing import Hashing
from ingest_api.tenants.access.roles import Principal
from ingest_api.tenants.api import idempotency
from ingest_api.tenants.api.operation import Call, Operation, encoded, etag
from ingest_api.tenants.api.problems import (
    CONFLICT,
    FORBIDDEN,
    INVALID_QUERY,
    NO_TENANT,
    REJECTED,
    UNAVAILABLE,
    UNKNOWN,
)
from ingest_api.tenants.pool.database import Database
from ingest_api.tenants.pool.shares import Shares
from pipeline.errors import OperatorError
from pipeline.topology.model import Topology
from schemas.records import EVERY_TENANT
from sinks.postgres.catalogue import rejections
from sinks.postgres.catalogue.quizzes import ID
from sinks.postgres.catalogue.users import passwords
from sinks.postgres.connect import Connection
from sinks.postgres.poison import describe

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1.0
PATH_CHARS_MAX = 200
_ONCE = (b"authorization", b"if-match", b"idempotency-key", b"quizstream-tenant", b"content-type")


@dataclass(frozen=True)
class Parts:
    """What every operation shares. `now_ms`: since the epoch."""

    authenticate: Authenticate
    database: Database
    shares: Shares
    topology: Topology
    contact_key: bytes
    now_ms: Callable[[], int]
    random_text: Callable[[int], str]
    hashing: Hashing


class Serve:
    """The handler of one operation."""

    def __init__(self, operation: Operation, parts: Parts) -> None:
        self._operation = operation
        self._parts = parts
        self._decoder = None if operation.body is None else msgspec.json.Decoder(operation.body)

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        headers = _headers(scope)
        parts, operation = self._parts, self._operation
        principal = await parts.authenticate.caller(headers.get(b"authorization"))
        if operation.permission not in principal.permissions:
            raise rejection(FORBIDDEN, f'it needs the permission "{operation.permission}"')
        tenant_id = _tenant(principal, headers, operation, scope["path_params"])
        query = _query(scope, operation)
        path = {name: str(value) for name, value in scope["path_params"].items()}
        if any(not 0 < len(value) <= PATH_CHARS_MAX or "\x00" in value for value in path.values()):
            raise rejection(UNKNOWN, "there is no such object")
        raw, body = await self._body(receive, headers)
        key = None
        if operation.method == "POST":
            key = idempotency.key_of(headers.get(b"idempotency-key"))
        if_match = headers.get(b"if-match")
        password_hash = ""
        if operation.has_password:
            # Its hash is stored with the idempotency key: a plain one of a password could be guessed fast.
            raw = hmac.new(parts.contact_key, b"request:" + raw, hashlib.sha256).digest()
            if (wrong := passwords.problem(body.password)) is not None:
                raise rejection(REJECTED, wrong, pointer="#/password")

        def work(connection: Connection) -> idempotency.Encoded:
            call = Call(
                principal,
                tenant_id,
                path,
                query,
                body,
                None if if_match is None else if_match.decode("latin-1").strip(),
                parts.now_ms(),
                connection,
                parts.topology,
                parts.contact_key,
                parts.random_text,
                password_hash,
            )

            def run() -> idempotency.Done:
                answer = operation.work(call)
                body = b"" if answer.content is None else encoded(answer.content)
                return idempotency.Done(
                    answer.status, body, body if answer.repeated is None else encoded(answer.repeated)
                )

            if key is None:
                done = run()
                return done.status, done.body
            named = f"{operation.name} {scope['path']}"
            return idempotency.once(connection, tenant_id, key, named, raw, run)

        with parts.shares.one_of(principal.tenant_id):
            if operation.has_password:
                password_hash = await parts.hashing.hash_of(body.password)
            status, content = await self._committed(tenant_id, work)
        if operation.method == "GET" and not operation.paged:
            tag = etag(content, operation.etag_of)
            if not operation.etag_of and headers.get(b"if-none-match", b"").decode("latin-1") == tag:
                return Reply(304, b"", headers=((b"etag", tag.encode()),))
            return Reply(status, content, headers=((b"etag", tag.encode()), (b"cache-control", b"private")))
        return Reply(status, content, headers=((b"cache-control", b"no-store"),))

    async def _committed(
        self, tenant_id: str, work: Callable[[Connection], idempotency.Encoded]
    ) -> idempotency.Encoded:
        try:
            return await self._parts.database.run(tenant_id, work)
        except psycopg.errors.InsufficientPrivilege:
            # A row of another tenant has the id, or the operation lacks a grant: the database kept it back.
            raise rejection(CONFLICT, "the object cannot be changed under this id") from None
        except psycopg.OperationalError as error:
            log.warning("%s: no answer of the database (%s)", self._operation.name, describe(error))
            raise rejection(
                UNAVAILABLE, "the database does not answer", retry_after_s=RETRY_AFTER_S
            ) from None
        except psycopg.DataError:  # of a text that no column can hold
            raise rejection(REJECTED, "a value cannot be stored") from None
        except rejections.UnknownTenant:
            raise rejection(UNKNOWN, "there is no such tenant") from None
        except rejections.Rejection as rejected:
            raise _of_rejection(rejected) from None
        except OperatorError as error:
            raise rejection(REJECTED, shown(error.message)) from None

    async def _body(self, receive: Receive, headers: dict[bytes, bytes]) -> tuple[bytes, Any]:
        if self._decoder is None:
            return b"", None
        require_json(headers)
        limits = self._parts.topology.tenants
        bytes_max = limits.users.body_bytes_max if self._operation.has_password else limits.body_bytes_max
        raw = await read_body(receive, headers, bytes_max)
        try:
            body = self._decoder.decode(raw)
            require_each_key_once(raw)
        except msgspec.ValidationError as error:
            raise misshapen(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise not_json(raw, error) from None
        return raw, body


def _of_rejection(rejected: rejections.Rejection) -> Rejection:
    if type(rejected).__name__.startswith("Unknown"):
        return rejection(UNKNOWN, "there is no such object")
    return rejection(REJECTED, "; ".join(shown(problem) for problem in rejected.problems[:20]))


def _headers(scope: Scope) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and name in _ONCE:
            raise rejection(REPEATED_HEADER, f"{name.decode()} is given twice")
        headers[name] = value
    return headers


def _tenant(
    principal: Principal, headers: dict[bytes, bytes], operation: Operation, path_params: Mapping[str, str]
) -> str:
    """The tenant in whose transaction the operation runs. Only a platform caller may name another one."""
    named = headers.get(b"quizstream-tenant", b"").decode("latin-1").strip()
    if principal.tenant_id != EVERY_TENANT:
        if named and named != principal.tenant_id:
            raise rejection(FORBIDDEN, "the token is of another tenant")
        return principal.tenant_id
    if operation.of_platform:
        return EVERY_TENANT
    if operation.tenant_in_path:
        named = str(path_params["id"])
    if not ID.fullmatch(named):
        raise rejection(NO_TENANT, "a platform token needs the header Quizstream-Tenant")
    return named


def _query(scope: Scope, operation: Operation) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            scope["query_string"].decode(), keep_blank_values=True, strict_parsing=False, errors="strict"
        )
    except (UnicodeDecodeError, ValueError):
        raise rejection(INVALID_QUERY, "the query is not UTF-8") from None
    query = dict(pairs)
    for name, value in pairs:
        if name not in operation.query:
            raise rejection(INVALID_QUERY, f'there is no parameter "{shown(name)}"')
        if len(value) > PATH_CHARS_MAX * 2 or "\x00" in value:
            raise rejection(INVALID_QUERY, f'the parameter "{shown(name)}" is too long or has a NUL')
    if len(query) != len(pairs):
        raise rejection(INVALID_QUERY, "a parameter is given twice")
    return query

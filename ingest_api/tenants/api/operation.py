"""What one operation of the tenant API is: its route, its permission, its types and its work.

Routes and the OpenAPI document are both made from the list of operations, so that they cannot differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ingest_api.http.problems import Rejection, rejection
from ingest_api.tenants.access.roles import Permission, Principal
from ingest_api.tenants.api.problems import CHANGED, MATCH_REQUIRED, UNKNOWN
from pipeline.topology.model import Topology
from sinks.postgres.connect import Connection

PAGE_ROWS = 50


@dataclass(frozen=True)
class Call:
    """One request, authenticated and decoded. `connection`: in the transaction of `tenant_id`.

    `if_match`: the header, None without one. `random_text`: as `secrets.token_urlsafe`. `password_hash`: of
    the password in the body of an operation that has one.
    """

    principal: Principal
    tenant_id: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    if_match: str | None
    now_ms: int
    connection: Connection
    topology: Topology
    contact_key: bytes
    random_text: Callable[[int], str]
    password_hash: str = ""

    @property
    def actor(self) -> str:
        """For the audit log."""
        return self.principal.subject

    @property
    def id(self) -> str:
        return self.path["id"]

    @property
    def after(self) -> str | None:
        return self.query.get("after")

    def require_unchanged(self, current: Any, fields: Sequence[str] = ()) -> None:
        """Raise Rejection unless If-Match is the ETag of `current`, whose row is locked.

        `fields`: as the `etag_of` of the operation that reads it.
        """
        if self.if_match is None:
            raise rejection(MATCH_REQUIRED, "send If-Match with the ETag of the object as it was read")
        if self.if_match not in ("*", etag(encoded(current), fields)):
            raise rejection(CHANGED, "its ETag is another one now")


@dataclass(frozen=True)
class Answer:
    """`content`: of the answer's type; None has no body.

    `repeated`: what a repetition by idempotency key is answered instead, where `content` must not be stored.
    """

    content: Any
    status: int = 200
    repeated: Any = None


Work = Callable[[Call], Answer]


@dataclass(frozen=True)
class Operation:
    """`body` and `answer` are types, None without one. `query`: names of parameters and what they are.

    `id_at`: a JSON pointer to the id of an object in the answer, which links of the document follow.
    `conditional`: needs If-Match. `of_platform`: reads every tenant. `tenant_in_path`: acts on the named one.
    `etag_of`: fields of the answer whose ETag it has; without them all. Then it is of no use to a cache.
    `has_password`: of its body the field `password` is hashed before the transaction.
    """

    name: str
    method: str
    path: str
    permission: Permission
    summary: str
    work: Work
    answer: Any = None
    body: Any = None
    status: int = 200
    query: Mapping[str, str] = field(default_factory=dict)
    conditional: bool = False
    etag_of: tuple[str, ...] = ()
    id_at: str = ""
    of_platform: bool = False
    tenant_in_path: bool = False
    has_password: bool = False

    @property
    def paged(self) -> bool:
        return "after" in self.query

    @property
    def of_object(self) -> bool:
        return "{id}" in self.path

    @property
    def collection(self) -> str:
        """The path of all objects of its kind, such as `/v1/quizzes`."""
        return "/".join(self.path.split("/")[:3])


AFTER = {"after": "`next` of the page before; without it the first page"}


def encoded(content: Any) -> bytes:
    return msgspec.json.encode(content)


def etag(body: bytes, fields: Sequence[str] = ()) -> str:
    """Of the answer's bytes, or of these fields of it: the same object always has the same."""
    if fields:
        answer = msgspec.json.decode(body)
        body = encoded([answer[name] for name in fields])
    return f'"{hashlib.sha256(body).hexdigest()[:20]}"'


def unknown(what: str) -> Rejection:
    """Also for an object of another tenant: it does not exist for the caller."""
    return rejection(UNKNOWN, f"there is no such {what}")

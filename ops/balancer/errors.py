"""The answers that the load balancer gives itself: problems of the edge's catalogue, readable by any page.

The edge is a package that `ops` does not import; a test compares these with its catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Error:
    """`of`: the statuses of nginx that become this answer.

    `unread`: the request may have no address yet. Such a one cannot go to a named location, and its answer is
    that of an address; the log then has GET as its method.
    """

    name: str
    of: tuple[int, ...]
    status: int
    slug: str
    title: str
    detail: str
    retry_after_s: int | None = None
    unread: bool = False

    @property
    def body(self) -> str:
        members = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return msgspec.json.encode(members).decode()


ERRORS = (
    # 405: CONNECT; 501: a transfer coding other than chunked.
    Error(
        "not_http",
        (400, 405, 501),
        400,
        "not-http",
        "The request is not HTTP/1.1",
        "the request cannot be read, or in two ways",
        unread=True,
    ),
    Error("missing", (403, 404), 404, "not-found", "No such address", "there is nothing for clients here"),
    Error(
        "too_large",
        (413,),
        413,
        "body-too-large",
        "The body is too large",
        "the body is longer than this address accepts",
    ),
    # 414: a request line of more than one buffer; 494: headers of more than all.
    Error(
        "head_too_large",
        (414, 494),
        431,
        "headers-too-large",
        "The request's head is too large",
        "a line of the head, or all of it, is too long",
        unread=True,
    ),
    Error(
        "too_many",
        (429,),
        429,
        "too-many-connections",
        "The address has too many connections",
        "too many requests at once from one address",
        retry_after_s=5,
    ),
    # 502: the connection to an edge ended before the answer; 504: no answer in time.
    Error(
        "unavailable",
        (500, 502, 503, 504),
        503,
        "log-unavailable",
        "The completion could not be made durable",
        "no edge answered; send it again with the same key",
        retry_after_s=2,
    ),
)

"""What browsers may send to the edge from pages of any origin, and what they may read of its answers."""

from __future__ import annotations

from ingest_api.http.reply import Headers, Reply

# A quiz page may be on any origin and carries no credentials of this service.
ANY_ORIGIN: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after, ratelimit, ratelimit-policy, etag"),
)

# Scripts for tracing add headers of their own to every request of a page. `*` stands for all of them but
# `authorization`; a browser that does not know it reads it as a name, so the usual ones are listed too.
PREFLIGHT = Reply(
    204,
    b"",
    headers=(
        (b"access-control-allow-methods", b"POST"),
        (
            b"access-control-allow-headers",
            b"authorization, content-type, idempotency-key, traceparent, tracestate, baggage, sentry-trace,"
            b" x-request-id, x-requested-with, *",
        ),
        (b"access-control-max-age", b"86400"),
    ),
)

"""Problems of the tenant API, beside those that it shares with the edge."""

from __future__ import annotations

from ingest_api.http.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    INTERNAL,
    INVALID_BODY,
    INVALID_JSON,
    INVALID_KEY,
    INVALID_TOKEN,
    KEY_REUSED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    NOT_JSON,
    NOT_READY,
    OVERLOADED,
    RATE_LIMITED,
    REPEATED_FIELD,
    REPEATED_HEADER,
    Kind,
)

FORBIDDEN = Kind(
    "forbidden", 403, "The token may not do this", "Use a token whose role and scopes allow the operation."
)
NO_TENANT = Kind(
    "no-tenant",
    400,
    "The request names no tenant",
    "Send the header Quizstream-Tenant: a platform token is of no tenant.",
)
UNKNOWN = Kind("unknown", 404, "There is no such object", "Check the id; list the objects of the tenant.")
REJECTED = Kind("rejected", 422, "The change cannot be made", "The detail lists what is wrong.")
INVALID_QUERY = Kind(
    "invalid-query", 422, "A query parameter cannot be used", "See /openapi.json for the parameters."
)
CONFLICT = Kind("conflict", 409, "The id is in use", "Use another id.")
HELD = Kind(
    "held",
    409,
    "The operator or the provider has stopped it",
    "The operator can let it send again; here only a pause of the tenant's own is ended.",
)
CHANGED = Kind(
    "changed",
    412,
    "The object was changed meanwhile",
    "Read it again, decide again, and send If-Match with its new ETag.",
)
MATCH_REQUIRED = Kind(
    "if-match-required", 428, "The change needs If-Match", "Send If-Match with the ETag that was read."
)
UNAVAILABLE = Kind(
    "database-unavailable",
    503,
    "The database does not answer",
    "Send it again after Retry-After, with the same Idempotency-Key.",
    retry=True,
)

CATALOGUE: tuple[Kind, ...] = (
    *(INVALID_JSON, REPEATED_HEADER, INVALID_TOKEN, NOT_FOUND, METHOD_NOT_ALLOWED, BODY_TIMEOUT),
    *(BODY_TOO_LARGE, NOT_JSON, INVALID_BODY, REPEATED_FIELD, INVALID_KEY, KEY_REUSED, INTERNAL),
    *(FORBIDDEN, NO_TENANT, UNKNOWN, REJECTED, INVALID_QUERY, CONFLICT, CHANGED, MATCH_REQUIRED, UNAVAILABLE),
    *(NOT_READY, HELD, RATE_LIMITED, OVERLOADED),
)
BY_SLUG = {kind.slug: kind for kind in CATALOGUE}

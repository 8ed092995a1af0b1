"""A request's headers by name, without two values for one that must be single."""

from __future__ import annotations

from collections.abc import Sequence

from ingest_api.http.problems import REPEATED_HEADER, rejection

# Proxies and clients would disagree about which of two values counts.
SINGLE = (b"authorization", b"content-encoding", b"content-type", b"idempotency-key")


def by_name(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the last value of each name. Raises Rejection for a repeated header of SINGLE."""
    found = dict(headers)
    if len(found) != len(headers):
        names = [name for name, _value in headers]
        for name in SINGLE:
            if names.count(name) > 1:
                raise rejection(REPEATED_HEADER, f"{name.decode()} is given {names.count(name)} times")
    return found

"""Whether a request is for a person's page or for JSON, and whether the client already has it."""

from __future__ import annotations

from ingest_api.http.reply import Scope

RANGES_MAX = 32  # of an Accept header; more are not read


def header(scope: Scope, name: bytes) -> bytes:
    """Return all values of a header, joined by commas."""
    return b",".join(value for key, value in scope["headers"] if key == name)


def wants_json(accept: bytes) -> bool:
    """A client without a preference gets HTML: previews of a link send `*/*`."""
    html, json, anything = _preferences(accept)
    return json > html and json >= anything


def wants_html(accept: bytes) -> bool:
    """Whether the client names HTML and prefers nothing to it, as browsers do."""
    html, json, anything = _preferences(accept)
    return html > 0 and html >= json and html >= anything


def _preferences(accept: bytes) -> tuple[float, float, float]:
    """Return the qualities of HTML, of JSON and of ranges that have both."""
    html = json = anything = 0.0
    for part in accept.lower().split(b",")[:RANGES_MAX]:
        media_type, *parameters = (piece.strip() for piece in part.split(b";"))
        quality = _quality(parameters)
        if media_type in (b"text/html", b"application/xhtml+xml"):
            html = max(html, quality)
        elif media_type in (b"application/json", b"application/problem+json"):
            json = max(json, quality)
        elif media_type in (b"*/*", b"text/*", b"application/*"):
            anything = max(anything, quality)
    return html, json, anything


def accepts_gzip(accept_encoding: bytes) -> bool:
    """`*` stands for the codings that are not named, wherever it is in the list (RFC 9110, 12.5.3)."""
    named: float | None = None
    others = 0.0
    for part in accept_encoding.lower().split(b",")[:RANGES_MAX]:
        coding, *parameters = (piece.strip() for piece in part.split(b";"))
        if coding in (b"gzip", b"x-gzip"):
            named = max(named or 0.0, _quality(parameters))
        elif coding == b"*":
            others = max(others, _quality(parameters))
    return (others if named is None else named) > 0


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def is_unchanged(if_none_match: bytes, etag: bytes) -> bool:
    """Return whether the client has this representation. A proxy may have made its validator weak."""
    if if_none_match.strip() == b"*":
        return True
    return any(tag.strip().removeprefix(b"W/") == etag for tag in if_none_match.split(b","))

"""What the APIs of providers have in common: statuses before the API, `Retry-After`, heads of requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from sinks.connection import Endpoint, Lines

URL_SCHEMES = ("https", "http")
RETRY_AFTER_MAX_S = 86_400.0
# The API or a gateway before it that answers so has not accepted the message: not signed in, no such address,
# another address, too many calls. The next call would end the same way, so the number pauses. Not 303: it
# answers a request that was processed (RFC 9110, section 15.4.4).
REJECTED_UNREAD = frozenset({301, 302, 307, 308, 401, 403, 404, 429})


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` states, at most a day: a number, or a time later than the answer's own."""
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", asked, re.ASCII):
        return min(float(asked), RETRY_AFTER_MAX_S)
    try:
        until, now = parsedate_to_datetime(asked), parsedate_to_datetime(headers.get("date", ""))
        return min(max(0.0, (until - now).total_seconds()), RETRY_AFTER_MAX_S)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def host_of(endpoint: Endpoint) -> str:
    """The value of the header `Host`."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == (443 if endpoint.tls else 80) else f"{host}:{endpoint.port}"


def is_header_token(secret: str) -> bool:
    """Whether a secret can stand in a header: not empty, no space and no control character in it."""
    return bool(secret) and secret.isascii() and secret.isprintable() and " " not in secret


class HttpProvider:
    """What providers with an HTTP API have in common."""

    url_schemes = URL_SCHEMES

    def connections(
        self, base_url: str, credential: str, clock: Callable[[], float], *, idle_max: int
    ) -> Lines:
        """Raises ValueError for what is not an http(s) URL."""
        return Lines(Endpoint.parse(base_url), clock, idle_max=idle_max)

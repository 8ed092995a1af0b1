"""Where a webhook may go: addresses of the public internet alone. Decides for an URL and for an address.

An URL is checked when it is saved, so that its tenant learns it at once. What counts is the check of the
address at the moment of the connection: a name may resolve to another address by then.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

URL_CHARS_MAX = 2_000
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label has a letter and is no number: the resolver would read `127.1`, `0x7f000001` and
# `2130706433` as addresses.
_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)+(?!0x)(?=[a-z0-9-]*[a-z])[a-z0-9-]{{2,63}}")
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
_CARRIES_IPV4 = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))  # 6to4, Teredo


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def allowed(address: str, development: Sequence[Network] = ()) -> bool:
    """Whether a connection to `address` may be opened. With `development` to its networks alone."""
    try:
        found = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if development:
        return any(found in network for network in development)
    if "%" in address or not found.is_global or found.is_multicast or found.is_reserved:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        # A mapped, translated or tunnelled IPv4 address is reached by another check than its own.
        return found in _PUBLIC_IPV6 and not any(found in network for network in _CARRIES_IPV4)
    return True


def problem(url: str, development: Sequence[Network] = ()) -> str | None:
    """Why webhooks cannot go to this URL, or None."""
    if not 0 < len(url) <= URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"its URL must have 1 to {URL_CHARS_MAX} printable ASCII characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its URL cannot be parsed"
    if parts.scheme != "https" and not (development and parts.scheme == "http"):
        return "its URL must begin with https://"
    if "@" in parts.netloc or "\\" in url or parts.fragment or port == 0:
        return "its URL must have no user, no backslash, no fragment and no port 0"
    return _host_problem(parts, development)


def _host_problem(parts: SplitResult, development: Sequence[Network]) -> str | None:
    host = (parts.hostname or "").rstrip(".")
    try:
        literal = str(ipaddress.ip_address(host))
    except ValueError:
        if _NAME.fullmatch(host) or (development and host == "localhost"):
            return None
        return "its host must be a name with a domain, or an address in its usual form"
    return None if allowed(literal, development) else "its host must be an address of the public internet"

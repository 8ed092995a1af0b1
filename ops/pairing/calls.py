"""HTTP calls of a pairing, one after the other; nothing is sent to a person by them."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from sinks.pairing import PairingRequest

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 2_097_152


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Another address must not get the credential."""

    def redirect_request(self, *_: object) -> None:
        return None


class Calls:
    """To one provider's address. Proxies of the environment are not used, as the sender uses none."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def __call__(self, request: PairingRequest) -> tuple[int, bytes] | None:
        """Status and body of the answer; None where there is none."""
        asked = urllib.request.Request(
            self._base_url + request.path,
            request.body if request.method == "POST" else None,
            dict(request.headers),
            method=request.method,
        )
        try:
            with self._opener.open(asked, timeout=TIMEOUT_S) as response:
                return response.status, response.read(ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(ANSWER_BYTES_MAX)
        except (OSError, ValueError, http.client.HTTPException):
            return None

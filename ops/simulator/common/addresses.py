"""Where the simulator posts the webhooks of each session number."""

from __future__ import annotations

from urllib.parse import quote

from ops.simulated_instances import webhook_key_of


class Addresses:
    """The edge's address of the number, with the key that a seed has given it, unless another was registered.

    A restart forgets what was registered.
    """

    def __init__(self, edge_url: str, provider: str, webhook_secret: bytes) -> None:
        self._base = f"{edge_url}/webhooks/{provider}"
        self._secret = webhook_secret
        self._registered: dict[str, str] = {}

    def of(self, number: str) -> str:
        usual = f"{self._base}/{quote(number)}?key={webhook_key_of(self._secret, number)}"
        return self._registered.get(number, usual)

    def register(self, number: str, url: str) -> None:
        self._registered[number] = url

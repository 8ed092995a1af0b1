"""How a session number is paired with a phone: requests to its provider, and what their answers mean.

A provider with sessions has a module `pairing` with a PAIRING beside its `provider`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from sinks import providers


class PairingRequest(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Connected:
    """The session is there: nothing is to be paired."""


@dataclass(frozen=True)
class Waiting:
    """Neither connected nor with a code now."""


@dataclass(frozen=True)
class PairingCode:
    """What the phone has to scan: the `text` of the QR code, or else its picture (PNG)."""

    text: str = ""
    image: bytes = b""


@dataclass(frozen=True)
class PairingFailed:
    """The provider did not do it. `again`: another attempt may succeed."""

    detail: str
    again: bool


Standing = Connected | Waiting | PairingCode | PairingFailed


class Pairing(Protocol):
    """Pure: of one provider."""

    @property
    def renew_s(self) -> float:
        """How often to call `connect`, so that no code is shown that has expired for long."""
        ...

    def connect(self, number_id: str, credential: str) -> PairingRequest:
        """Begins the pairing, or renews its code."""
        ...

    def status(self, number_id: str, credential: str) -> PairingRequest:
        """Whether the session is there; changes nothing."""
        ...

    def standing(self, http_status: int, body: bytes) -> Standing:
        """Of an answer to either."""
        ...


def pairing_of(provider: str) -> Pairing | None:
    """None for a provider without sessions. Raises `UnknownProvider`."""
    if not providers.provider_named(provider).is_session:
        return None
    package = providers.provider_named(provider).__class__.__module__.rpartition(".")[0]
    return cast(Pairing, import_module(f"{package}.pairing").PAIRING)

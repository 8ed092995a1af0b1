"""Pairing of an instance of Evolution API: `GET /instance/connect`, `/instance/connectionState` [S]. Pure."""

from __future__ import annotations

from urllib.parse import quote

from sinks.pairing import Connected, PairingCode, PairingRequest, Standing, Waiting
from sinks.tolerant_json import decoded_object
from sinks.whatsapp.evolution.client import error_texts
from sinks.whatsapp.loose_values import text_at
from sinks.whatsapp.pairing_answers import failed, picture_in


class EvolutionPairing:
    """The code comes as text and as a picture, in answers to `connect` alone: the one that is valid now."""

    renew_s = 3.0

    def connect(self, number_id: str, credential: str) -> PairingRequest:
        return self._get("connect", number_id, credential)

    def status(self, number_id: str, credential: str) -> PairingRequest:
        return self._get("connectionState", number_id, credential)

    def _get(self, what: str, number_id: str, credential: str) -> PairingRequest:
        return PairingRequest("GET", f"/instance/{what}/{quote(number_id, safe='')}", {"apikey": credential})

    def standing(self, http_status: int, body: bytes) -> Standing:
        """A connected instance answers `connect` with its state."""
        content = decoded_object(body)
        if http_status != 200:
            return failed(http_status, next(error_texts(content), ""))
        if text_at(content, "instance", "state") == "open":
            return Connected()
        text, image = text_at(content, "code"), picture_in(text_at(content, "base64"))
        return PairingCode(text, image) if text or image else Waiting()


PAIRING = EvolutionPairing()

"""Pairing of an instance of UAZAPI: `POST /instance/connect`, `GET /instance/status` [S]. Pure."""

from __future__ import annotations

from sinks.pairing import Connected, PairingCode, PairingRequest, Standing, Waiting
from sinks.tolerant_json import decoded_object
from sinks.whatsapp.loose_values import is_true, text_at
from sinks.whatsapp.pairing_answers import failed, picture_in
from sinks.whatsapp.uazapi.client import error_text


class UazapiPairing:
    """The code comes as a picture alone, in both answers."""

    renew_s = 12.0

    def connect(self, number_id: str, credential: str) -> PairingRequest:
        headers = {"token": credential, "Content-Type": "application/json"}
        return PairingRequest("POST", "/instance/connect", headers, b"{}")

    def status(self, number_id: str, credential: str) -> PairingRequest:
        return PairingRequest("GET", "/instance/status", {"token": credential})

    def standing(self, http_status: int, body: bytes) -> Standing:
        content = decoded_object(body)
        instance = content.get("instance")
        if http_status != 200 or not isinstance(instance, dict):
            return failed(http_status, error_text(content) or "")
        status = content.get("status")
        logged_in = (
            is_true(status.get("loggedIn")) if isinstance(status, dict) else is_true(content.get("loggedIn"))
        )
        if text_at(instance, "status").lower() == "connected" and logged_in:
            return Connected()
        image = picture_in(text_at(instance, "qrcode"))
        return PairingCode(image=image) if image else Waiting()


PAIRING = UazapiPairing()
